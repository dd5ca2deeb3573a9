# SPDX-License-Identifier: Apache-2.0
# The only table of ISA compile flags, keyed by the first two words of a file's stem: x86_avx2.cc and
# x86_avx2_m1.cc get the row `x86_avx2`. A new ISA is one row here. -mfma never appears: floats are not fused.
set(EK_ISA_x86_avx2        -mavx2)
set(EK_ISA_x86_avxvnni     -mavx2 -mavxvnni)
set(EK_ISA_x86_avx512vnni  -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni)
set(EK_ISA_arm_neon        -march=armv8-a)
set(EK_ISA_arm_neondot     -march=armv8.2-a+dotprod)
set(EK_ISA_arm_neoni8mm    -march=armv8.2-a+dotprod+i8mm)

if(MSVC AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")  # cl: on arm64 it has every intrinsic without asking
  set(EK_ISA_x86_avx2 /arch:AVX2)
  set(EK_ISA_x86_avxvnni /arch:AVX2)
  set(EK_ISA_x86_avx512vnni /arch:AVX512)
  foreach(row neon neondot neoni8mm)
    set(EK_ISA_arm_${row} "")
  endforeach()
endif()

# GCC 12 warns falsely about its own AVX-512 intrinsics (`_mm512_undefined` is read by design).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND EK_ISA_x86_avx512vnni -Wno-maybe-uninitialized -Wno-uninitialized)
endif()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(EK_ARCH x86)
  set(EK_ARCH_DEFINITION EK_ARCH_X86=1)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(EK_ARCH arm)
  set(EK_ARCH_DEFINITION EK_ARCH_ARM=1)
else()
  set(EK_ARCH none)                       # the scalar kernels alone
  set(EK_ARCH_DEFINITION "")
endif()

# Remove the files of another architecture (x86_*.cc, arm_*.cc) from the list named LIST.
function(ek_keep_this_architecture LIST)
  foreach(other x86 arm)
    if(NOT other STREQUAL EK_ARCH)
      list(FILTER ${LIST} EXCLUDE REGEX "(^|/)${other}_[^/]*\\.cc$")
    endif()
  endforeach()
  set(${LIST} ${${LIST}} PARENT_SCOPE)
endfunction()

# Give each ISA file the flags of its row; a stem without a row ends the configuration.
function(ek_set_isa_flags)
  foreach(source ${ARGN})
    get_filename_component(stem ${source} NAME_WE)
    if(stem MATCHES "^((x86|arm)_[a-z0-9]+)")
      set(row EK_ISA_${CMAKE_MATCH_1})
      if(NOT DEFINED ${row})
        message(FATAL_ERROR "${source}: no row for `${CMAKE_MATCH_1}` in cpp/cmake/isa.cmake; add its flags there.")
      endif()
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${${row}}")
    endif()
  endforeach()
endfunction()

# Export from shared TARGET only the symbols that match the patterns after it.
function(ek_export_only TARGET)
  if(WIN32)                               # nothing is hidden there
    set_target_properties(${TARGET} PROPERTIES WINDOWS_EXPORT_ALL_SYMBOLS ON)
    return()
  elseif(APPLE)
    set(script ${CMAKE_CURRENT_BINARY_DIR}/${TARGET}.exports)
    list(TRANSFORM ARGN PREPEND "_" OUTPUT_VARIABLE globals)
    list(JOIN globals "\n" globals)
    file(CONFIGURE OUTPUT ${script} CONTENT "${globals}\n" @ONLY)
    target_link_options(${TARGET} PRIVATE "LINKER:-exported_symbols_list,${script}")
    set_target_properties(${TARGET} PROPERTIES LINK_DEPENDS ${script})
    return()
  endif()
  list(JOIN ARGN "; " globals)
  set(script ${CMAKE_CURRENT_BINARY_DIR}/${TARGET}.map)
  file(CONFIGURE OUTPUT ${script} CONTENT "{ global: ${globals}; local: *; };\n" @ONLY)
  target_link_options(${TARGET} PRIVATE "LINKER:--version-script=${script}" LINKER:--as-needed)
  set_target_properties(${TARGET} PROPERTIES LINK_DEPENDS ${script})
endfunction()
