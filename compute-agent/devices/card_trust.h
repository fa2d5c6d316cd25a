#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/pci_address.h"
#include "common/status.h"
#include "placement/model/host.h"

// Physical cards of a virtCCA host as trust domains. The firmware gives a card to the secure world as a whole
// when the first of its functions goes to a confidential guest, and it stays there until the host is
// rebooted: no ordinary guest, and no driver of the host, can use any of its functions any more.
namespace berth::agent {

// The function 0 of the slot that a device, or the PF of a VF, is in.
PciAddress CardOf(const placement::Device& device);
std::map<PciAddress, PciAddress> CardsOf(const std::vector<placement::Device>& devices);

// Who may get a function of a card.
struct CardUse {
  bool secure = false;    // the card is in the secure world
  bool ordinary = false;  // an ordinary guest has one of its functions
};
// kFailedPrecondition: a guest of this kind may not get it.
Status MayUseCard(const PciAddress& device, const PciAddress& card, const CardUse& use, bool confidential);

// Which cards went to the secure world since the host was booted: one file each, which holds the boot's id,
// in a folder that outlives the agent. Thread-safe.
class SecureCards {
 public:
  SecureCards(std::string folder, std::string boot_id)
      : folder_(std::move(folder)), boot_id_(std::move(boot_id)) {}

  // Durable when it returns OK, which must be before a function of the card is handed over; may be repeated.
  Status Mark(const PciAddress& card) const;
  // Those of this boot; what earlier boots left is forgotten. An error when it cannot be told: then no device
  // of a card may be handed over.
  Result<std::set<PciAddress>> Read() const;

 private:
  std::string folder_;
  std::string boot_id_;
};

}  // namespace berth::agent
