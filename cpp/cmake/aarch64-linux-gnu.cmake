# SPDX-License-Identifier: Apache-2.0
# Cross toolchain: aarch64 from any Linux host with g++-aarch64-linux-gnu; tests run under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
if(DEFINED ENV{EK_CXX})                                        # the wheels' compiler, see .ci/zig-cxx
  set(CMAKE_CXX_COMPILER "$ENV{EK_CXX}")
else()
  set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
endif()
set(CMAKE_STRIP aarch64-linux-gnu-strip)                       # the host's cannot read aarch64
set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64-static;-L;/usr/aarch64-linux-gnu" CACHE STRING "")
if(DEFINED ENV{EK_PYTHON_INCLUDE})                             # arm64 pyconfig.h for the extension
  set(Python_INCLUDE_DIR "$ENV{EK_PYTHON_INCLUDE}" CACHE PATH "")
endif()
set(PYBIND11_USE_CROSSCOMPILING ON CACHE BOOL "")              # otherwise the host's file suffix is used
