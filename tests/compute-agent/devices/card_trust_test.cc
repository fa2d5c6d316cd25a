#include "compute-agent/devices/card_trust.h"

#include <gtest/gtest.h>

#include "common/file.h"
#include "tests/fakes/temp_folder.h"

namespace berth::agent {
namespace {

PciAddress At(const char* address) {
  return *PciAddress::Parse(address);
}

TEST(CardTrust, AVfBelongsToTheCardOfItsPfAndAllFunctionsOfASlotToOneCard) {
  placement::Device vf;
  vf.address = At("0000:41:10.3");
  vf.parent = At("0000:41:00.1");
  placement::Device pf;
  pf.address = At("0000:41:00.1");

  EXPECT_EQ(CardOf(vf), At("0000:41:00.0"));
  EXPECT_EQ(CardOf(pf), At("0000:41:00.0"));
  EXPECT_EQ(CardsOf({vf, pf}), (std::map<PciAddress, PciAddress>{{vf.address, At("0000:41:00.0")},
                                                                 {pf.address, At("0000:41:00.0")}}));
}

// normal -> secure with the first confidential guest, and never back before the next boot.
TEST(CardTrust, ACardIsOrdinaryUntilAConfidentialGuestGetsAFunctionOfIt) {
  const PciAddress device = At("0000:41:10.0");
  const PciAddress card = At("0000:41:00.0");
  struct Case {
    CardUse use;
    bool confidential;
    bool allowed;
  };
  for (const Case& one :
       {Case{{false, false}, false, true}, Case{{false, false}, true, true}, Case{{false, true}, false, true},
        Case{{false, true}, true, false}, Case{{true, false}, false, false}, Case{{true, false}, true, true},
        Case{{true, true}, true, true}, Case{{true, true}, false, false}}) {
    EXPECT_EQ(MayUseCard(device, card, one.use, one.confidential).ok(), one.allowed)
        << one.use.secure << one.use.ordinary << one.confidential;
  }
  EXPECT_EQ(MayUseCard(device, card, {true, false}, false).ToString(),
            "FAILED_PRECONDITION: devices: device 0000:41:10.0 of card 0000:41:00.0 cannot be given to an "
            "ordinary guest: the card was given to a confidential one and stays in the secure world (reboot "
            "the host)");
}

TEST(SecureCards, AreRememberedOverTheAgentsEndAndForgottenAfterAReboot) {
  fakes::TempFolder folder;
  const std::string path = (folder.path() / "secure-cards").string();
  EXPECT_TRUE(SecureCards(path, "boot-1").Read()->empty());
  ASSERT_EQ(SecureCards(path, "boot-1").Mark(At("0000:41:00.0")), OkStatus());
  ASSERT_EQ(SecureCards(path, "boot-1").Mark(At("0000:41:00.0")), OkStatus());

  EXPECT_EQ(*SecureCards(path, "boot-1").Read(), std::set<PciAddress>{At("0000:41:00.0")});
  EXPECT_TRUE(SecureCards(path, "boot-2").Read()->empty());
  EXPECT_TRUE(SecureCards(path, "boot-1").Read()->empty());  // the file is gone
}

TEST(SecureCards, WhatCannotBeReadIsAnErrorAndForeignFilesAreNone) {
  fakes::TempFolder folder;
  ASSERT_EQ(WriteFileAtomically((folder.path() / "README").string(), "x"), OkStatus());
  EXPECT_TRUE(SecureCards(folder.path().string(), "boot-1").Read()->empty());
  EXPECT_FALSE(SecureCards((folder.path() / "README").string(), "boot-1").Read().has_value());
}

}  // namespace
}  // namespace berth::agent
