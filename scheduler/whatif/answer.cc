#include "scheduler/whatif/answer.h"

#include <algorithm>
#include <charconv>

#include "scheduler/fit/fit.h"
#include "scheduler/whatif/scenario.h"

namespace berth::scheduler::whatif {
namespace {

constexpr size_t kMaxTypes = 1024;

void AppendNumber(uint64_t number, std::string& out) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, number).ptr);
}

void AppendString(std::string_view text, std::string& out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

// Figures of a reason: numbers as numbers.
void AppendFigure(const std::string& figure, std::string& out) {
  bool number = !figure.empty() && figure.size() < 19 &&
                std::all_of(figure.begin(), figure.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (number) {
    out += figure;
  } else if (figure.empty()) {
    out += "null";
  } else {
    AppendString(figure, out);
  }
}

void AppendCell(const CellAssignment& cell, std::string& out) {
  out += "{\"guest\":";
  AppendNumber(cell.guest, out);
  out += ",\"host\":";
  AppendNumber(cell.host, out);
  out += ",\"pagesize_kb\":";
  if (cell.page_size_bytes == 0) {
    out += "null";
  } else {
    AppendNumber(cell.page_size_bytes >> 10, out);
  }
  out += ",\"pinning\":{";
  for (size_t i = 0; i < cell.pinning.size(); ++i) {
    out += i == 0 ? "\"" : ",\"";
    AppendNumber(cell.pinning[i].first, out);
    out += "\":";
    AppendNumber(cell.pinning[i].second, out);
  }
  out += "},\"reserved\":[";
  bool first = true;
  for (uint32_t cpu = cell.reserved.First(); cpu != CpuSet::kNone; cpu = cell.reserved.NextAfter(cpu)) {
    if (!first) out += ',';
    first = false;
    AppendNumber(cpu, out);
  }
  out += "]}";
}

void AppendDevice(const DeviceAssignment& device, std::string& out) {
  out += "{\"request\":";
  AppendNumber(device.request, out);
  out += ",\"address\":\"";
  out += device.address.ToString();
  out += "\",\"numa_node\":";
  if (device.numa_node) {
    AppendNumber(*device.numa_node, out);
  } else {
    out += "null";
  }
  out += '}';
}

void AppendFit(const Assignment& assignment, std::string& out) {
  out += "{\"pass\":true,\"cells\":[";
  for (size_t i = 0; i < assignment.cells.size(); ++i) {
    if (i > 0) out += ',';
    AppendCell(assignment.cells[i], out);
  }
  out += "],\"devices\":[";
  for (size_t i = 0; i < assignment.devices.size(); ++i) {
    if (i > 0) out += ',';
    AppendDevice(assignment.devices[i], out);
  }
  out += "],\"non_affine\":";
  AppendNumber(assignment.non_local, out);
  out += '}';
}

void AppendRefusal(const Reason& reason, bool undecided, std::string& out) {
  out += undecided ? "{\"pass\":false,\"undecided\":true,\"why\":" : "{\"pass\":false,\"why\":";
  AppendString(reason.text, out);
  out += ",\"reasons\":[{\"code\":";
  AppendString(reason.code, out);
  out += ",\"have\":";
  AppendFigure(reason.have, out);
  out += ",\"need\":";
  AppendFigure(reason.need, out);
  out += ",\"where\":";
  AppendString(reason.where, out);
  out += "}]}";
}

void AppendHost(const ScenarioHost& host, const RequestSpec& request, uint64_t& undecided, std::string& out) {
  AppendString(host.name, out);
  out += ':';
  if (!host.refused.empty()) {
    out += "{\"pass\":false,\"refused\":";
    AppendString(host.refused, out);
    out += ",\"why\":";
    AppendString(host.refused_why, out);
    out += '}';
    return;
  }
  FitResult result = Fit(host.host, request);
  if (result.verdict == Verdict::kFits) return AppendFit(result.assignment, out);
  if (result.verdict == Verdict::kUndecided) ++undecided;
  AppendRefusal(result.reason, result.verdict == Verdict::kUndecided, out);
}

void AppendError(std::string_view message, uint64_t number, std::string& out) {
  out += "{\"id\":null,\"line\":";
  AppendNumber(number, out);
  out += ",\"request_error\":";
  AppendString(message, out);
  out += "}\n";
}

// "InvalidX: field, value, allowed"; the field stands in the message or before the hint.
std::string RequestError(const Status& status) {
  std::string text = status.message();
  if (!status.field().empty()) text += " [" + status.field() + "]";
  if (!status.hint().empty()) text += " (" + status.hint() + ")";
  return text;
}

}  // namespace

bool Answerer::Answer(std::string_view line, uint64_t number, std::string& out) {
  auto json = parser_.Parse(line);
  if (!json.has_value()) {
    AppendError("not a scenario: " + json.error().message(), number, out);
    return false;
  }
  // Scenarios may bring any number of kinds of device; the table is begun anew now and then.
  if (types_ == nullptr || types_->size() > kMaxTypes) types_ = std::make_unique<DeviceTypes>();
  auto scenario = ReadScenario(**json, *types_);
  if (!scenario.has_value()) {
    AppendError(scenario.error().message(), number, out);
    return false;
  }
  out += "{\"id\":";
  AppendString(scenario->id, out);
  if (!scenario->request.has_value()) {
    out += ",\"request_error\":";
    AppendString(RequestError(scenario->request.error()), out);
    out += "}\n";
    return true;
  }
  out += ",\"hosts\":{";
  for (size_t i = 0; i < scenario->hosts.size(); ++i) {
    if (i > 0) out += ',';
    AppendHost(scenario->hosts[i], *scenario->request, undecided_, out);
  }
  out += "}}\n";
  return true;
}

}  // namespace berth::scheduler::whatif
