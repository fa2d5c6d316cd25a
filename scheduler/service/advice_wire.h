#pragma once

#include "berth/v1/scheduler.pb.h"
#include "common/status.h"
#include "scheduler/service/advisor.h"

namespace berth::scheduler {

// Conversions of the questions about the fleet. Errors: kInvalidArgument with the field.
Result<Question> QuestionFromProto(const v1::Wish& wish, const std::string& host);
void ExplanationToProto(const Advisor::Explanation& explanation, bool verdicts, v1::ExplainResponse* out);
void CapacityToProto(const Advisor::Capacity& capacity, v1::GetCapacityResponse* out);

}  // namespace berth::scheduler
