# SPDX-License-Identifier: Apache-2.0
# Enable C++; look for the compiler before CMake does, and say in one sentence what to do when there is none.
if(NOT CMAKE_CXX_COMPILER AND NOT CMAKE_TOOLCHAIN_FILE)
  if("$ENV{CXX}" STREQUAL "")
    set(names c++ g++ clang++)
    set(what "a C++ compiler")
  else()
    separate_arguments(words UNIX_COMMAND "$ENV{CXX}")
    list(GET words 0 names)
    set(what "the C++ compiler that CXX names ($ENV{CXX})")
  endif()
  find_program(EK_COMPILER NAMES ${names})
  if(NOT EK_COMPILER)
    unset(EK_COMPILER CACHE)
    message(FATAL_ERROR "edgekern is built from source and ${what} is missing here; "
                        "run: sudo apt-get install -y g++ python3-dev python3-venv")
  endif()
endif()
enable_language(CXX)
