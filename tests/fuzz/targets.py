"""All targets by name."""

import dataset_targets
import partition_targets
import policy_targets
import run_targets
from target import Target

TARGETS: dict[str, type[Target]] = {
    target.name: target
    for module in (partition_targets, dataset_targets, policy_targets, run_targets)
    for target in module.TARGETS
}
