# One static library per folder. Sources are every *.cc of the folder except main.cc, so that adding a file
# needs no edit here; what a library may see is decided by DEPS and checked by tests/lint/layers.py.
include(GoogleTest)

# berth_library(<name> [DEPS <targets>...] [EXCLUDE <file>...])
function(berth_library name)
  cmake_parse_arguments(A "" "" "DEPS;EXCLUDE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  list(FILTER sources EXCLUDE REGEX "/main\\.cc$")
  foreach(file ${A_EXCLUDE})
    list(FILTER sources EXCLUDE REGEX "/${file}$")
  endforeach()
  if(sources)
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC berth_options ${A_DEPS})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE berth_options ${A_DEPS})
  endif()
endfunction()

# berth_program(<name> DEPS <targets>... [SOURCES main.cc])
function(berth_program name)
  cmake_parse_arguments(A "" "" "DEPS;SOURCES" ${ARGN})
  if(NOT A_SOURCES)
    set(A_SOURCES main.cc)
  endif()
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE berth_options ${A_DEPS})
endfunction()

# berth_test(<name> DEPS <targets>... [LABELS <labels>...] [EXCLUDE <file>...] [TIMEOUT <seconds>])
# Sources are every *.cc of the folder (or SOURCES), linked into one GoogleTest program.
function(berth_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "DEPS;LABELS;SOURCES;EXCLUDE" ${ARGN})
  if(NOT A_SOURCES)
    file(GLOB A_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  endif()
  foreach(file ${A_EXCLUDE})
    list(FILTER A_SOURCES EXCLUDE REGEX "/${file}$")
  endforeach()
  if(NOT A_LABELS)
    set(A_LABELS core)
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE berth_options ${A_DEPS} test_main common GTest::gtest)
  # The code under test is built as it is shipped; the tests themselves are half of all source lines, and -O1
  # saves a quarter of their compile time.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  target_compile_definitions(${name} PRIVATE BERTH_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                             BERTH_BINARY_DIR="${PROJECT_BINARY_DIR}")
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT})
endfunction()

# berth_fuzzer(<name> SOURCES <file> DEPS <targets>...): a libFuzzer program with the clang `fuzz` preset. In
# every other preset the same file is linked with tests/fuzz/replay_main.cc, which replays the corpus folder
# tests/fuzz/corpus/<name> and mutations of it for a bounded number of runs, as an ordinary test.
function(berth_fuzzer name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE berth_options ${A_DEPS})
  if(BERTH_BUILD_FUZZERS)
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_test(NAME fuzz.${name} COMMAND ${name} -max_total_time=20 -rss_limit_mb=2048
      ${PROJECT_BINARY_DIR}/corpus/${name} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
    file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/corpus/${name})
  else()
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    add_test(NAME fuzz.${name} COMMAND ${name} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  endif()
  set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 180)
endfunction()

# berth_bench(<name> SOURCES <files> DEPS <targets>...): a Google Benchmark program, never run as a test.
function(berth_bench name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE berth_options ${A_DEPS} benchmark::benchmark benchmark::benchmark_main)
endfunction()
