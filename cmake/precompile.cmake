# Precompiled headers of the standard library and of packages: they take most of the time of a compilation. None of our own
# headers is in one, so editing those costs no more than before. A file still includes what it uses: the compilers of
# lint and of `-DBERTH_PRECOMPILE=OFF` see the difference.
option(BERTH_PRECOMPILE "Use precompiled headers" ON)

set(berth_precompiled <algorithm> <array> <chrono> <condition_variable> <cstdint> <deque> <filesystem> <functional> <map> <memory>
  <mutex> <optional> <set> <span> <sstream> <string> <string_view> <thread> <tuple> <unordered_map> <utility> <variant> <vector>)

# Whether a target with these dependencies reads gRPC's headers, or is built with its flags: <out> is `_rpc` or empty.
# It hands the answer on to what depends on the target.
function(berth_rpc_suffix target out)
  set(suffix "")
  foreach(dep ${ARGN})
    if(TARGET ${dep})
      get_target_property(rpc ${dep} BERTH_RPC)
      if(rpc OR dep STREQUAL "berth_proto")
        set(suffix _rpc)
        set_target_properties(${target} PROPERTIES BERTH_RPC TRUE)
      endif()
    endif()
  endforeach()
  set(${out} "${suffix}" PARENT_SCOPE)
endfunction()

# berth_precompile(<target> code|code_rpc|small|test|test_rpc|none): `code` is built as libraries are, `small` as what vmm/ builds with
# -Os, `test` as tests are (-O1); `_rpc` has gRPC and the generated messages besides, for a target that links them.
function(berth_precompile target kind)
  if(NOT BERTH_PRECOMPILE OR kind STREQUAL "none")
    return()
  endif()
  set(shared precompiled_${kind})
  if(NOT TARGET ${shared})
    set(empty ${PROJECT_BINARY_DIR}/precompiled/${kind}.cc)
    file(CONFIGURE OUTPUT ${empty} CONTENT "")
    add_library(${shared} OBJECT ${empty})
    target_link_libraries(${shared} PRIVATE berth_options)
    set(headers ${berth_precompiled})
    if(kind MATCHES "test")
      list(APPEND headers <fstream> <gtest/gtest.h>)
      target_link_libraries(${shared} PRIVATE GTest::gtest)
      target_compile_options(${shared} PRIVATE $<$<CONFIG:Release>:-O1>)
    endif()
    if(kind STREQUAL "small")
      target_compile_options(${shared} PRIVATE $<$<CONFIG:Release>:-Os>)
    endif()
    if(kind MATCHES "rpc")
      list(APPEND headers <grpcpp/grpcpp.h> <berth/v1/agent.grpc.pb.h> <berth/v1/placement.grpc.pb.h> <berth/v1/scheduler.grpc.pb.h>)
      target_link_libraries(${shared} PRIVATE berth_proto)
    endif()
    target_precompile_headers(${shared} PRIVATE ${headers})
  endif()
  target_precompile_headers(${target} REUSE_FROM ${shared})
endfunction()
