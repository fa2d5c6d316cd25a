# Everything comes from Debian 12 by name; docs/dependencies.md says what each is for.
find_package(tl-expected CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
if(NOT BERTH_VMM_ONLY)
  find_package(gRPC CONFIG REQUIRED)  # brings protobuf; a second find_package(c-ares) would fail
  find_package(SQLite3 REQUIRED)
  find_package(yaml-cpp CONFIG REQUIRED)
  find_package(prometheus-cpp CONFIG REQUIRED)
  find_package(OpenSSL REQUIRED)  # by way of cpprestsdk, whose target does not name it
  find_package(cpprestsdk CONFIG REQUIRED)
  find_package(Boost 1.74 REQUIRED)
  pkg_check_modules(hwloc REQUIRED IMPORTED_TARGET hwloc)
  pkg_check_modules(libnl_route REQUIRED IMPORTED_TARGET libnl-route-3.0)
  pkg_check_modules(regex REQUIRED IMPORTED_TARGET re2)  # not named re2: gRPC looks for that name itself
  # -pthread, which glibc 2.34 needs no more, would make precompiled headers unfit for whom links it
  set_target_properties(PkgConfig::regex PROPERTIES INTERFACE_COMPILE_OPTIONS "")
endif()
if(BERTH_BUILD_TESTS)
  find_package(GTest CONFIG REQUIRED)
  find_package(benchmark CONFIG REQUIRED)
endif()
