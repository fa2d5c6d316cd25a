// Stored records and lines of exports from anywhere: read or refused, never more; what is read is written the
// same.
#include <sstream>
#include <string_view>

#include "db/record_codec.h"
#include "placement/store/store_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace berth;  // NOLINT(google-build-using-namespace)
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (auto provider = db::DecodeProvider(bytes)) {
    CHECK(db::DecodeProvider(db::EncodeProvider(provider->provider, provider->owner)).has_value());
  }
  if (auto consumer = db::DecodeConsumer(bytes)) {
    CHECK(db::DecodeConsumer(db::EncodeConsumer(*consumer)).has_value());
  }
  (void)db::DecodeGenerations(bytes);
  (void)db::DecodeClaim(bytes);
  std::istringstream in{std::string(bytes)};
  if (auto contents = placement::ReadStoreFile(in)) {
    std::ostringstream out;
    CHECK(placement::WriteStoreFile(*contents, out).ok());
  }
  return 0;
}
