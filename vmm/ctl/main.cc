#include <iostream>

#include "vmm/ctl/ctl.h"

int main(int argc, char** argv) {
  return berth::vmm::RunCtl({argv + (argc > 0 ? 1 : 0), argv + argc}, std::cout, std::cerr);
}
