"""Repeated forwards of one fixed shape, run the usual way or recorded once as a CUDA graph and replayed."""

from typing import Any

import torch
from torch import Tensor, nn

from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.utils.errors import UserError
from dmaelab.utils.machine import machine_error

# Forwards before the recording: libraries choose their kernels in the first one, compilers compile in the first two.
_WARM_UP = 3


class Forward:
    """The classifier applied to one buffer of images; the caller writes new images into it before every call.

    Make it and call it inside ``torch.no_grad()`` and :func:`~dmaelab.smoothing.arithmetic.fixed_kernels`. A graph
    reads the copies of the weights that autocast has made, and these are freed when that context ends.

    Args:
        classifier: the module that :meth:`Arithmetic.prepare` returned.
        images: the buffer [N,C,H,W]. A graph is recorded at the first call, so it must hold images by then.
        arithmetic: the settings, resolved for the device.
    """

    def __init__(self, classifier: nn.Module, images: Tensor, arithmetic: Arithmetic) -> None:
        self.classifier, self.images, self.arithmetic = classifier, images, arithmetic
        self._graph: torch.cuda.CUDAGraph | None = None
        self._output: Any = None

    def __call__(self) -> Any:
        """Return the output of the classifier. With a CUDA graph the next call overwrites it.

        Raises:
            UserError: a graph cannot record the classifier, for example because it waits for the device.
        """
        if not self.arithmetic.cuda_graph:
            return self._run()
        if self._graph is None:
            self._record()
        assert self._graph is not None
        self._graph.replay()
        return self._output

    def _run(self) -> Any:
        with self.arithmetic.autocast(self.images.device):
            return self.classifier(self.images)

    def _record(self) -> None:
        device = self.images.device
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._run()
        torch.cuda.current_stream(device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(torch.cuda.current_stream(device)):  # restores the stream if the recording fails
            try:
                with torch.cuda.graph(graph, stream=side):
                    self._output = self._run()
            except RuntimeError as error:
                cause = error.__context__ if isinstance(error.__context__, RuntimeError) else error
                if machine_error(cause) is not None:
                    raise cause from None
                reason = str(cause).partition("\n")[0]
                raise UserError(
                    f"the forward cannot be recorded as a CUDA graph ({reason}): set cuda_graph=False"
                    " (certify.cuda_graph=False in a config)"
                ) from None
        self._graph = graph
