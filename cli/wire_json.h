#pragma once

#include <google/protobuf/message.h>
#include <google/protobuf/repeated_field.h>

#include "cli/output.h"

namespace berth::cli {

// A message as JSON for people and scripts: field names as in proto/, in their order, all of them; 64-bit
// numbers as numbers; absent optional fields and messages as null; enums by their short name ("RUNNING";
// device types as "type-VF").
Json ToJson(const google::protobuf::Message& message);

template <class Message>
Json ToJson(const google::protobuf::RepeatedPtrField<Message>& messages) {
  Json list = Json::array();
  for (const Message& message : messages) list.push_back(ToJson(message));
  return list;
}

}  // namespace berth::cli
