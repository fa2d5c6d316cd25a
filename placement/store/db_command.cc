#include "placement/store/db_command.h"

#include <filesystem>
#include <fstream>
#include <iostream>

#include "placement/engine/engine.h"
#include "placement/engine/state_audit.h"
#include "placement/store/open_store.h"
#include "placement/store/store_file.h"

namespace berth::placement {
namespace {

int Fail(const std::string& verb, const Status& status) {
  std::cerr << "berth-placement db " << verb << ": " << status.ToString() << "\n";
  return 1;
}

// Opening makes an absent store: whoever mistypes the path would be told that it is empty and in order.
Status CheckExists(const std::string& store) {
  TRY_ASSIGN(std::string path, StorePath(store));
  std::error_code error;
  if (std::filesystem::exists(path, error)) return OkStatus();
  if (error) return ErrnoStatus("find the store " + path, error.value()).WithField("store");
  return NotFound("there is no store " + path, "store");
}

Result<std::unique_ptr<db::Store>> OpenExisting(const std::string& store) {
  TRY(CheckExists(store));
  return OpenStore(store, 0);
}

int Export(const std::string& store, const std::string& file) {
  Status status = CheckExists(store);  // before the file is made, or made empty
  if (!status.ok()) return Fail("export", status);
  if (file.empty() || file == "-") {
    status = ExportStore(store, std::cout);
  } else {
    std::ofstream out(file, std::ios::trunc);
    status = out ? ExportStore(store, out) : ErrnoStatus(file, errno);
    out.close();
    if (status.ok() && out.fail()) status = Unavailable(file + " cannot be written");
  }
  return status.ok() ? 0 : Fail("export", status);
}

int Import(const std::string& store, const std::string& file) {
  Status status;
  if (file.empty() || file == "-") {
    status = ImportStore(store, std::cin, std::cout);
  } else {
    std::ifstream in(file);
    status = in ? ImportStore(store, in, std::cout) : ErrnoStatus(file, errno);
  }
  return status.ok() ? 0 : Fail("import", status);
}

std::string Count(size_t number, const std::string& what) {
  return std::to_string(number) + " " + what;
}

}  // namespace

Status CheckStore(const std::string& store, std::ostream& out) {
  TRY_ASSIGN(auto opened, OpenExisting(store));
  TRY(opened->Verify());
  TRY_ASSIGN(db::Contents contents, opened->Load());
  TRY_ASSIGN(auto engine, Engine::Restore(contents));
  size_t errors = 0;
  size_t warnings = 0;
  for (const AuditFinding& finding : AuditState(*engine, contents)) {
    (finding.error ? errors : warnings) += 1;
    out << (finding.error ? "error: " : "warning: ") << finding.text << "\n";
  }
  out << opened->Describe() << ": " << Count(contents.hosts.size(), "hosts, ")
      << Count(contents.claims.size(), "claims, ") << Count(contents.providers.size(), "providers, ")
      << Count(engine->resources().consumer_count(), "consumers, ")
      << Count(engine->resources().allocation_count(), "allocations; ") << Count(errors, "errors, ")
      << Count(warnings, "warnings") << "\n";
  if (errors > 0) return DataLoss("the store has " + Count(errors, "errors"));
  return OkStatus();
}

Status ExportStore(const std::string& store, std::ostream& out) {
  TRY_ASSIGN(auto opened, OpenExisting(store));
  TRY_ASSIGN(db::Contents contents, opened->Load());
  TRY_ASSIGN(auto engine, Engine::Restore(contents));
  return WriteStoreFile(engine->Export(), out);
}

Status ImportStore(const std::string& store, std::istream& in, std::ostream& out) {
  TRY_ASSIGN(db::Contents contents, ReadStoreFile(in));
  TRY_ASSIGN(auto engine, Engine::Restore(contents));
  TRY_ASSIGN(auto opened, OpenStore(store, 0));
  TRY_ASSIGN(db::Contents before, opened->Load());
  if (!before.hosts.empty() || !before.claims.empty() || !before.providers.empty() || before.sequence != 0 ||
      before.audit != 0) {
    return FailedPrecondition("store " + opened->Describe() + " is not empty", "store", "name a new file");
  }
  db::Batch batch{.changes = engine->AllChanges(), .sequence = contents.sequence};
  // The numbers of audit rows go on above those of the exported store.
  batch.changes.emplace_back(db::AddAudit{{contents.audit + 1, 0, "", "import", ""}});
  TRY(opened->Append(batch));
  out << opened->Describe() << ": " << Count(contents.hosts.size(), "hosts, ")
      << Count(contents.claims.size(), "claims, ") << Count(contents.providers.size(), "providers, ")
      << Count(contents.consumers.size(), "consumers imported") << "\n";
  return OkStatus();
}

int RunDbCommand(const std::string& verb, const std::string& store, const std::string& file) {
  if (verb == "export") return Export(store, file);
  if (verb == "import") return Import(store, file);
  if (verb == "check") {
    Status status = CheckStore(store, std::cout);
    return status.ok() ? 0 : Fail(verb, status);
  }
  std::cerr << "berth-placement db: no verb \"" << verb << "\"; there are check, export and import\n";
  return 2;
}

}  // namespace berth::placement
