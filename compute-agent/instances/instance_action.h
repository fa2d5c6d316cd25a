#pragma once

namespace berth::agent {

// What an instance shall do; kept in its record until somebody wants something else.
enum class Goal { kRunning, kStopped, kPaused };

// What a client can ask of an instance that exists.
enum class Action {
  kStart,   // a stopped or ended one is started again; of no effect on one that runs
  kStop,    // the guest is shut down; the claim and everything that it holds stay
  kReboot,  // shut down as by kStop, then started again
  kReset,   // the machine is reset at once, in place
  kPause,   // its vCPUs stand still
  kResume,
};

}  // namespace berth::agent
