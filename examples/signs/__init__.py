# SPDX-License-Identifier: Apache-2.0
"""Training of the bundled traffic-sign classifier, one concern per module.

`data` reads and splits the photographs, `augment` varies them, `net` draws the network, `fit` trains it,
`measure` turns logits into figures and `card` writes them down. `train_signs.py` is the command line over all of them.
"""
