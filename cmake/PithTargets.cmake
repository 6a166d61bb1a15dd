# How a layer, a test and a benchmark are declared. Sources are globbed: a new file needs no edit.

add_library(pith_flags INTERFACE)
# g++ 12 gives false -Wrestrict reports on std::string (GCC bug 105651).
target_compile_options(pith_flags INTERFACE -Wall -Wextra -Wno-sign-compare
  -Wno-missing-field-initializers -Wno-unknown-pragmas -ffp-contract=off -Wno-restrict
  $<$<BOOL:${PITH_WERROR}>:-Werror>)
if(PITH_SANITIZE)
  target_compile_options(pith_flags INTERFACE -fsanitize=${PITH_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(pith_flags INTERFACE -fsanitize=${PITH_SANITIZE})
endif()

# pith_layer(NAME [DEPENDS layer...] [LINK library...]): static library pith_NAME from src/NAME/*.cc.
function(pith_layer name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  string(REPLACE "/" "_" target "pith_${name}")
  string(REPLACE "/" "_" export_name ${name})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cc
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

# pith_tests(DIR DEPENDS layer... [LINK library...]): one program from tests/DIR/*_test.cc.
function(pith_tests dir)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LINK" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${dir}/*.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(${dir}_test ${sources})
  list(TRANSFORM ARG_DEPENDS PREPEND pith_)
  target_include_directories(${dir}_test PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_definitions(${dir}_test PRIVATE PITH_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(${dir}_test PRIVATE ${ARG_DEPENDS} ${ARG_LINK} pith_flags GTest::gtest
                        GTest::gtest_main)
  add_test(NAME ${dir} COMMAND ${dir}_test)
endfunction()
