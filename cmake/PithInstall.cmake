# `cmake --install`: the program, the engine's static libraries, public headers, a CMake package
# (find_package(pith), target pith::pith) and shell completion.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pith)

# What users of the library link to; the layers are its parts.
add_library(pith_package INTERFACE)
set_target_properties(pith_package PROPERTIES EXPORT_NAME pith)
target_compile_features(pith_package INTERFACE cxx_std_20)
target_link_libraries(pith_package INTERFACE pith_engine)

get_property(layers GLOBAL PROPERTY PITH_LAYERS)
list(REMOVE_ITEM layers pith_eval pith_serve)  # the program's own: no public header
install(TARGETS pith_package ${layers} EXPORT pithTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/pith)
install(EXPORT pithTargets NAMESPACE pith:: DESTINATION ${package_dir})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/pithConfig.cmake.in
  ${PROJECT_BINARY_DIR}/pithConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pithConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/pithConfig.cmake ${PROJECT_BINARY_DIR}/pithConfigVersion.cmake
        DESTINATION ${package_dir})

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/pith ${PROJECT_BINARY_DIR}/include/pith
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES ${PROJECT_SOURCE_DIR}/scripts/completion/pith.bash
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME pith)
