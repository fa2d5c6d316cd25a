#include "cli/wire_json.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <string>

namespace berth::cli {
namespace {

namespace pb = google::protobuf;

// "InstanceState" -> "INSTANCE_STATE_", the prefix of its values.
std::string PrefixOf(const pb::EnumDescriptor& type) {
  std::string prefix;
  for (char c : type.name()) {
    if (std::isupper(static_cast<unsigned char>(c)) != 0 && !prefix.empty()) prefix += '_';
    prefix += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return prefix + "_";
}

Json EnumToJson(const pb::EnumValueDescriptor& value) {
  std::string prefix = PrefixOf(*value.type());
  std::string name = value.name();
  if (name.starts_with(prefix)) name = name.substr(prefix.size());
  if (name == "UNSPECIFIED") return nullptr;
  return value.type()->name() == "DeviceType" ? "type-" + name : name;
}

// One value of a field; `index` is -1 for a single one.
Json ValueToJson(const pb::Message& message, const pb::FieldDescriptor& field, int index) {
  const pb::Reflection& r = *message.GetReflection();
  bool one = index < 0;
  switch (field.cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_INT32:
      return one ? r.GetInt32(message, &field) : r.GetRepeatedInt32(message, &field, index);
    case pb::FieldDescriptor::CPPTYPE_INT64:
      return one ? r.GetInt64(message, &field) : r.GetRepeatedInt64(message, &field, index);
    case pb::FieldDescriptor::CPPTYPE_UINT32:
      return one ? r.GetUInt32(message, &field) : r.GetRepeatedUInt32(message, &field, index);
    case pb::FieldDescriptor::CPPTYPE_UINT64:
      return one ? r.GetUInt64(message, &field) : r.GetRepeatedUInt64(message, &field, index);
    case pb::FieldDescriptor::CPPTYPE_DOUBLE:
      return one ? r.GetDouble(message, &field) : r.GetRepeatedDouble(message, &field, index);
    case pb::FieldDescriptor::CPPTYPE_FLOAT:
      return one ? r.GetFloat(message, &field) : r.GetRepeatedFloat(message, &field, index);
    case pb::FieldDescriptor::CPPTYPE_BOOL:
      return one ? r.GetBool(message, &field) : r.GetRepeatedBool(message, &field, index);
    case pb::FieldDescriptor::CPPTYPE_ENUM:
      return EnumToJson(one ? *r.GetEnum(message, &field) : *r.GetRepeatedEnum(message, &field, index));
    case pb::FieldDescriptor::CPPTYPE_STRING:
      return one ? r.GetString(message, &field) : r.GetRepeatedString(message, &field, index);
    case pb::FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(one ? r.GetMessage(message, &field) : r.GetRepeatedMessage(message, &field, index));
  }
  return nullptr;
}

// Maps have no order on the wire; keys are sorted.
Json MapToJson(const pb::Message& message, const pb::FieldDescriptor& field) {
  std::map<std::string, Json> sorted;
  const pb::Reflection& r = *message.GetReflection();
  const pb::FieldDescriptor& key = *field.message_type()->map_key();
  const pb::FieldDescriptor& value = *field.message_type()->map_value();
  for (int i = 0; i < r.FieldSize(message, &field); ++i) {
    const pb::Message& entry = r.GetRepeatedMessage(message, &field, i);
    sorted[entry.GetReflection()->GetString(entry, &key)] = ValueToJson(entry, value, -1);
  }
  Json map = Json::object();
  for (auto& [k, v] : sorted) map[k] = std::move(v);
  return map;
}

}  // namespace

Json ToJson(const pb::Message& message) {
  Json object = Json::object();
  const pb::Reflection& r = *message.GetReflection();
  const pb::Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const pb::FieldDescriptor& field = *type.field(i);
    Json& value = object[field.name()];
    if (field.is_map()) {
      value = MapToJson(message, field);
    } else if (field.is_repeated()) {
      value = Json::array();
      for (int k = 0; k < r.FieldSize(message, &field); ++k) value.push_back(ValueToJson(message, field, k));
    } else if (field.has_presence() && !r.HasField(message, &field)) {
      value = nullptr;
    } else {
      value = ValueToJson(message, field, -1);
    }
  }
  return object;
}

}  // namespace berth::cli
