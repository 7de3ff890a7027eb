"""The published reference's checkpoint layout: its names mapped to ours.

Input: a state dict as the reference saves it (after `module.` prefixes and a `state_dict` wrapper). Output:
a state dict of AMD with ResNet-50 at output stride 8. Anything else is refused with the first missing,
unexpected or misshapen key.
"""

import re
from collections.abc import Mapping

from torch import Tensor

_RULES = (
    (r"^backbone2\.(.+)$", r"appearance.backbone.\1"),
    (r"^decode_head2\.convs\.(\d)\.conv\.(.+)$", r"appearance.head.\1.0.\2"),
    (r"^decode_head2\.convs\.(\d)\.bn\.(.+)$", r"appearance.head.\1.1.\2"),
    (r"^decode_head2\.conv_seg\.(.+)$", r"appearance.classifier.\1"),
    (r"^decode_head\.flownet\.feature_pyramid_extractor\.convs\.(\d)\.(\d)\.0\.(.+)$", r"motion.pyramid.\1.\2.0.\3"),
    (r"^decode_head\.flownet\.flow_estimators\.conv(\d)\.0\.(.+)$", r"motion.estimator.conv\1.0.\2"),
    (r"^decode_head\.flownet\.flow_estimators\.predict_flow1\.0\.(.+)$", r"motion.estimator.readout.0.0.\1"),
    (r"^decode_head\.flownet\.flow_estimators\.predict_flow2\.0\.(.+)$", r"motion.estimator.readout.1.\1"),
    (r"^decode_head\.flownet\.conv_1x1\.(\d)\.0\.(.+)$", r"motion.reduce.\1.0.\2"),
)


def our_name(name: str) -> str | None:
    """Our parameter name for a reference name, or None where there is no such part."""
    name = re.sub(r"^(module\.)+", "", name)
    for pattern, replacement in _RULES:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    return None


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a reference state dict; ValueError names the first key that has no place."""
    renamed = {}
    for name, tensor in state.items():
        ours = our_name(name)
        if ours is None:
            raise ValueError(f"unexpected key {name!r}")
        renamed[ours] = tensor
    return renamed
