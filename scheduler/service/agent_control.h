#pragma once

#include <string>
#include <vector>

#include "common/status.h"
#include "common/uuid.h"

namespace berth::scheduler {

// A disk that was attached to an instance while it existed. The path must mean the same on both hosts.
struct CarriedDisk {
  std::string id;
  std::string path;
  bool readonly = false;
  bool direct = false;
  std::string serial;

  friend bool operator==(const CarriedDisk&, const CarriedDisk&) = default;
};

// What moves of instances need of agents; implemented over gRPC (AgentLinks) and by tests.
class AgentControl {
 public:
  virtual ~AgentControl() = default;
  // Both return when the agent has it on record. kNotFound: the instance is not there (yet).
  virtual Status Start(const std::string& endpoint, const Uuid& instance) = 0;
  virtual Status Stop(const std::string& endpoint, const Uuid& instance) = 0;
  // Without those on their way out. kNotFound: nothing of the instance is there.
  virtual Result<std::vector<CarriedDisk>> Disks(const std::string& endpoint, const Uuid& instance) = 0;
  // The same disk again is no error. kNotFound: the instance is not there (yet).
  virtual Status AttachDisk(const std::string& endpoint, const Uuid& instance, const CarriedDisk& disk) = 0;
};

}  // namespace berth::scheduler
