# SPDX-License-Identifier: Apache-2.0
"""Draws the 43 German road signs of GTSRB from vector shapes, for the product's demo."""
