#pragma once

#include "compute-agent/preflight/preflight.h"

namespace berth::agent {

// The checks of one scope, added to report.findings. report.kind and report.secure are set.
void CheckGuests(const PreflightInput& input, PreflightReport& report);
void CheckDevices(const PreflightInput& input, PreflightReport& report);
void CheckConfidential(const PreflightInput& input, PreflightReport& report);

// Adds a finding: `bad` with `severity`, else ok and without repair.
void AddFinding(PreflightReport& report, Scope scope, const char* id, bool bad, Severity severity,
                std::string found, std::string needed, std::string repair);

}  // namespace berth::agent
