#pragma once

#include <istream>
#include <ostream>

#include "common/status.h"
#include "db/store.h"

// A store's contents as a file of JSON lines (berth.v1.ExportLine): `berth-placement db export` and `import`.
namespace berth::placement {

// Everything but the last events and the audit rows.
Status WriteStoreFile(const db::Contents& contents, std::ostream& out);

// kInvalidArgument names the line and what is wrong with it: no such message, a number outside its range, no
// header, no end, lines missing. Whether the contents agree with themselves is Engine::Restore's question.
Result<db::Contents> ReadStoreFile(std::istream& in);

}  // namespace berth::placement
