# SPDX-License-Identifier: Apache-2.0
"""What can be told of aarch64 without a board: cost models of the hot loops, instructions per inference."""
