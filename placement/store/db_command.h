#pragma once

#include <istream>
#include <ostream>
#include <string>

#include "common/status.h"

// `berth-placement db check|export|import --store sqlite:PATH [FILE]`: the store of a service that is not
// running.
namespace berth::placement {

// CheckStore and ExportStore never make a store: kNotFound, field "store".
//
// Loads the store and counts everything anew (AuditState). One line for each finding and a summary to `out`.
// kDataLoss: there are errors; warnings alone are OK.
Status CheckStore(const std::string& store, std::ostream& out);
// The state as JSON lines (store_file.h).
Status ExportStore(const std::string& store, std::ostream& out);
// Into a store that holds nothing: kFailedPrecondition otherwise. All or nothing.
Status ImportStore(const std::string& store, std::istream& in, std::ostream& out);

// The command itself: `verb` is check, export or import, `file` a path, "-" or empty for standard input or
// output. Returns the exit status: 0, 1 (failed, or errors found), 2 (no such verb).
int RunDbCommand(const std::string& verb, const std::string& store, const std::string& file);

}  // namespace berth::placement
