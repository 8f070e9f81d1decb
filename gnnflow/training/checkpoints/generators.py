"""The states of torch's random generators: what dropout draws next."""

from typing import Any

import torch


class TorchGenerators:
    """This process' generators of the CPU and of the GPU in use, as a checkpoint holds them."""

    def state_dict(self) -> dict[str, Any]:
        """The states; that of a GPU where there is one."""
        state: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lets the generators go on from states."""
        torch.set_rng_state(state_dict["cpu"])
        if "cuda" in state_dict and torch.cuda.is_available():
            torch.cuda.set_rng_state(state_dict["cuda"])
