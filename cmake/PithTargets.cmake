# How a layer, a test and a benchmark are declared. Sources are globbed: a new file needs no edit.

add_library(pith_flags INTERFACE)
# g++ 12 gives false -Wrestrict reports on std::string (GCC bug 105651).
set(host_flags -Wall -Wextra -Wno-sign-compare -Wno-missing-field-initializers -Wno-unknown-pragmas
  -ffp-contract=off -Wno-restrict)
if(PITH_WERROR)
  list(APPEND host_flags -Werror)
endif()
# nvcc hands them on to the host's compiler; 554 speaks of conversions of views that are not made. What
# the device contracts, each kernel says.
list(JOIN host_flags "," nvcc_host_flags)
target_compile_options(pith_flags INTERFACE
  "$<$<NOT:$<COMPILE_LANGUAGE:CUDA>>:${host_flags}>"
  "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;-diag-suppress=554;-Xcompiler=${nvcc_host_flags}>")
# What runs no loop over a model is compiled faster: half of all sources.
add_library(pith_light_flags INTERFACE)
target_compile_options(pith_light_flags INTERFACE $<$<CONFIG:Release>:-O1>)
if(PITH_SANITIZE)
  # Checks at every access of a test's many templates take half of the time to compile unoptimised.
  target_compile_options(pith_light_flags INTERFACE -O0)
  # Of Highway's targets the oldest and AVX2: each one is another copy of every kernel to compile.
  target_compile_definitions(pith_flags INTERFACE
    "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SSE4|HWY_AVX3|HWY_AVX3_DL)")
  target_compile_options(pith_flags INTERFACE
    "$<$<NOT:$<COMPILE_LANGUAGE:CUDA>>:-fsanitize=${PITH_SANITIZE};-fno-omit-frame-pointer;-fno-sanitize-recover=all>")
  # A null pointer that is used faults, AddressSanitizer sees what goes beyond an object, and of the
  # library's classes the CUDA backend alone is cast down: checks of these take a fifth of the time to
  # compile.
  if(PITH_SANITIZE MATCHES address AND PITH_SANITIZE MATCHES undefined)
    target_compile_options(pith_flags INTERFACE
      "$<$<NOT:$<COMPILE_LANGUAGE:CUDA>>:-fno-sanitize=null,object-size,vptr>")
  endif()
  target_link_options(pith_flags INTERFACE -fsanitize=${PITH_SANITIZE})
endif()

# pith_layer(NAME [DEPENDS layer...] [LINK library...]): static library pith_NAME from src/NAME/*.cc
# and *.cu.
function(pith_layer name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  string(REPLACE "/" "_" target "pith_${name}")
  string(REPLACE "/" "_" export_name ${name})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cc
       ${PROJECT_SOURCE_DIR}/src/${name}/*.cu
       ${PROJECT_SOURCE_DIR}/src/${name}/policies/*.cc ${PROJECT_SOURCE_DIR}/src/${name}/layers/*.cc ${PROJECT_SOURCE_DIR}/src/${name}/tasks/*/*.cc
       ${PROJECT_SOURCE_DIR}/src/${name}/report/*.cc
       ${PROJECT_SOURCE_DIR}/src/${name}/reproduce/*.cc)
  if(NOT sources)
    add_library(${target} INTERFACE)
    return()
  endif()
  add_library(${target} STATIC ${sources})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${export_name})
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
           $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
           $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>
           $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>)
  list(TRANSFORM ARG_DEPENDS PREPEND pith_)
  target_link_libraries(${target} PUBLIC ${ARG_DEPENDS} PRIVATE $<BUILD_INTERFACE:pith_flags>
                        ${ARG_LINK})
  set_property(GLOBAL APPEND PROPERTY PITH_LAYERS ${target})
endfunction()

# What each test program is linked with: main, which chooses the device under test, and the memory
# that tests share with it.
function(pith_test_main)
  add_library(pith_test_main STATIC main.cc device.cc shared_memory.cc)
  target_include_directories(pith_test_main PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(pith_test_main PUBLIC pith_ops GTest::gtest PRIVATE pith_flags)
  if(PITH_CUDA)
    target_compile_definitions(pith_test_main PRIVATE PITH_TESTS_CUDA)
    target_link_libraries(pith_test_main PRIVATE CUDA::cudart_static)
  endif()
endfunction()

# pith_tests(DIR DEPENDS layer... [LINK library...] [SIMD level...]): one program from
# tests/DIR/*_test.cc, run at the processor's best SIMD level and at those named; a processor that
# lacks one of them skips it, and the error that ctest shows says which ones it has.
function(pith_tests dir)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK;SIMD" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${dir}/*.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(${dir}_test ${sources})
  list(TRANSFORM ARG_DEPENDS PREPEND pith_)
  target_include_directories(${dir}_test PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${dir}_test PRIVATE PITH_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(${dir}_test PRIVATE ${ARG_DEPENDS} ${ARG_LINK} pith_flags pith_light_flags
                        pith_test_main)
  set(device "")
  if(PITH_CUDA AND PITH_TEST_DEVICE)
    set(device --device ${PITH_TEST_DEVICE})
  endif()
  add_test(NAME ${dir} COMMAND ${dir}_test ${device})
  if(PITH_CPU AND NOT device)
    foreach(level ${ARG_SIMD})
      add_test(NAME ${dir}_${level} COMMAND ${dir}_test)
      set_tests_properties(${dir}_${level} PROPERTIES ENVIRONMENT PITH_SIMD=${level}
                           SKIP_REGULAR_EXPRESSION "error: PITH_SIMD: got")
    endforeach()
  endif()
endfunction()
