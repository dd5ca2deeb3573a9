# SPDX-License-Identifier: Apache-2.0
"""Traffic signs: the bundled classifier of the 43 German signs of GTSRB."""

from edgekern.signs.classifier import Prediction, SignClassifier

__all__ = ["Prediction", "SignClassifier"]
