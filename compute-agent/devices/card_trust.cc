#include "compute-agent/devices/card_trust.h"

#include <filesystem>

#include "common/file.h"

namespace berth::agent {

PciAddress CardOf(const placement::Device& device) {
  PciAddress card = device.parent.value_or(device.address);
  card.function = 0;
  return card;
}

std::map<PciAddress, PciAddress> CardsOf(const std::vector<placement::Device>& devices) {
  std::map<PciAddress, PciAddress> cards;
  for (const placement::Device& device : devices) cards[device.address] = CardOf(device);
  return cards;
}

Status MayUseCard(const PciAddress& device, const PciAddress& card, const CardUse& use, bool confidential) {
  const std::string what = "device " + device.ToString() + " of card " + card.ToString();
  if (use.secure && !confidential) {
    return FailedPrecondition(what +
                                  " cannot be given to an ordinary guest: the card was given to a "
                                  "confidential one and stays in the secure world",
                              "devices", "reboot the host");
  }
  if (use.ordinary && !use.secure && confidential) {
    return FailedPrecondition(what +
                                  " cannot be given to a confidential guest: an ordinary one has another "
                                  "function of the card, which would go to the secure world as a whole",
                              "devices");
  }
  return OkStatus();
}

Status SecureCards::Mark(const PciAddress& card) const {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) return ErrnoStatus("make " + folder_, error.value());
  return WriteFileAtomically(folder_ + "/" + card.ToString(), boot_id_ + "\n");
}

Result<std::set<PciAddress>> SecureCards::Read() const {
  std::set<PciAddress> cards;
  std::error_code error;
  std::filesystem::directory_iterator entries(folder_, error);
  if (error == std::errc::no_such_file_or_directory) return cards;
  if (error) return ErrnoStatus(folder_, error.value());
  for (const auto& entry : entries) {
    Result<PciAddress> card = PciAddress::Parse(entry.path().filename().string());
    if (!card.has_value()) continue;  // a temporary file of a Mark that was cut off
    TRY_ASSIGN(std::string boot_id, ReadFile(entry.path().string()));
    while (boot_id.ends_with('\n')) boot_id.pop_back();
    if (boot_id == boot_id_) {
      cards.insert(*card);
    } else {
      std::filesystem::remove(entry.path(), error);
    }
  }
  return cards;
}

}  // namespace berth::agent
