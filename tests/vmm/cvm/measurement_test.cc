#include <gtest/gtest.h>

#include <string>

#include "vmm/cvm/bytes.h"
#include "vmm/cvm/mrtd.h"
#include "vmm/cvm/sha384.h"
#include "vmm/cvm/snp_digest.h"
#include "vmm/cvm/snp_vmsa.h"

namespace berth::vmm {
namespace {

std::span<const uint8_t> Text(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// FIPS 180-4 examples of NIST.
TEST(Sha384, AgreesWithThePublishedExamples) {
  EXPECT_EQ(
      HexText(Sha384::Of(Text("abc"))),
      "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
  EXPECT_EQ(
      HexText(Sha384::Of({})),
      "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b");
  EXPECT_EQ(
      HexText(Sha384::Of(Text(std::string(1000000, 'a')))),
      "9d0e1809716474cb086e834e310a4a1ced149e9c00f248527972cec5704c2a5b07b8b3dc38ecc4ebae97ddd87f3d8985");
}

TEST(Sha384, DoesNotDependOnHowTheInputIsCut) {
  const std::string text(1000, 'x');
  for (size_t piece : {1, 3, 111, 112, 127, 128, 129}) {
    Sha384 hash;
    for (size_t at = 0; at < text.size(); at += piece) hash.Update(Text(text.substr(at, piece)));
    EXPECT_EQ(hash.Finish(), Sha384::Of(Text(text))) << piece;
  }
}

// What OVMF's AmdSev build asks for, after the image's own pages (digest 086e2e91...), and the digests that
// the public tool sev-snp-measure 0.0.12 gives for it in its tests (tests/test_guest.py,
// test_snp_without_kernel_*).
Sha384Digest DigestOfAmdSev(uint64_t features) {
  const auto image = *ParseHex<48>(
      "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa16aff8c374c2a55c467a50da6d466b74");
  SnpDigest digest = SnpDigest::StartingAt(image);
  digest.AddZero(0x800000, 0x9000);
  digest.AddZero(0x80a000, 0x3000);
  digest.AddSecrets(0x80d000);
  digest.AddCpuid(0x80e000);
  digest.AddZero(0x80f000, 0x1000);
  digest.AddZero(0x810000, 0x1000);
  digest.AddZero(0x811000, 0xf000);
  SnpVcpuState state;
  state.signature = 0x800f12;  // EPYC: family 23, model 1, stepping 2
  state.sev_features = features;
  digest.AddVmsa(BuildVmsa(state));
  return digest.value();
}

TEST(SnpDigest, AgreesWithThePublicTool) {
  EXPECT_EQ(
      HexText(DigestOfAmdSev(0x21)),
      "e1e1ca029dd7973ab9513295be68198472dcd4fc834bd9af9b63f6e8a1674dbf281a9278a4a2ebe0eed9f22adbcd0e2b");
  EXPECT_EQ(
      HexText(DigestOfAmdSev(0x1)),
      "19358ba9a7615534a9a1e2f0dfc29384dcd4dcb7062ff9c6013b26869a5fc6ecabe033c48dd6f6db5d6d76e7c5df632d");
}

TEST(SnpDigest, CountsEveryPageAndItsKindAndAddress) {
  std::array<uint8_t, 4096> page{};
  SnpDigest normal, elsewhere, unmeasured, zero;
  normal.AddNormal(0x1000, page);
  elsewhere.AddNormal(0x2000, page);
  unmeasured.AddUnmeasured(0x1000, 4096);
  zero.AddZero(0x1000, 4096);

  EXPECT_NE(normal.value(), elsewhere.value());
  EXPECT_NE(normal.value(), zero.value());
  EXPECT_NE(zero.value(), unmeasured.value());
}

// The value comes from a program of a few lines that was written from the specification alone.
TEST(Mrtd, MeasuresAddressesAndContents) {
  std::array<uint8_t, 4096> page;
  for (size_t i = 0; i < page.size(); ++i) page[i] = static_cast<uint8_t>(i * 7 + 3);
  MrtdBuilder mrtd;
  mrtd.AddPage(0xfffff000);
  mrtd.ExtendPage(0xfffff000, page);
  mrtd.AddPage(0x809000);

  EXPECT_EQ(
      HexText(mrtd.Finish()),
      "0c3fcebf4a628031eafbf6c75e5d439bca553a2a3017c9d5bf00c004f8b450062f4922fb4751cc8025943ad037185a28");
}

}  // namespace
}  // namespace berth::vmm
