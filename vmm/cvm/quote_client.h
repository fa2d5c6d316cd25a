#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/status.h"

namespace berth::vmm {

// Has a TD's report signed by a quote generation service: one request over a UNIX socket, in the message
// format of Intel's QGS (SGXDataCenterAttestationPrimitives, QuoteGeneration/quote_wrapper/qgs_msg_lib,
// version 1.1). kUnavailable: nobody listens, or no answer in time; kInternal: the service failed;
// kInvalidArgument: an answer that is none.
Result<std::vector<uint8_t>> RequestQuote(const std::string& socket, std::span<const uint8_t> report,
                                          std::chrono::milliseconds timeout = std::chrono::seconds(30));

// The quote in an answer without its length prefix; of any bytes.
Result<std::vector<uint8_t>> ParseQuoteAnswer(std::span<const uint8_t> message);

}  // namespace berth::vmm
