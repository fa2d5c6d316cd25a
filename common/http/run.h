#pragma once

#include <functional>

namespace berth::http {

// Runs something soon on one of the server's threads; must not throw. For those whose own time is dear.
void RunSoon(std::function<void()> work);

}  // namespace berth::http
