"""An 8-bit ONNX graph with its steps between the layers taken out: the same weights, computed in float32."""

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper


def folded(data: bytes) -> bytes:
    """Return the graph without QuantizeLinear and DequantizeLinear; weights become the float32 they stand for."""
    model = onnx.load_model_from_string(data)
    graph = model.graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        inputs = [renamed.get(name, name) for name in node.input]
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            if node.input[0] in stored:
                value, scale = stored[node.input[0]].astype(np.float64), stored[node.input[1]].reshape(-1)
                whole = value * (scale.reshape(-1, *[1] * (value.ndim - 1)) if scale.size > 1 else float(scale[0]))
                graph.initializer.append(numpy_helper.from_array(whole.astype(np.float32), node.output[0]))
            else:
                renamed[node.output[0]] = inputs[0]
            continue
        del node.input[:]
        node.input.extend(inputs)
        kept.append(node)
    for output in graph.output:
        output.name = renamed.get(output.name, output.name)
    del graph.node[:], graph.value_info[:]
    graph.node.extend(kept)
    return model.SerializeToString()


def session(data: bytes) -> onnxruntime.InferenceSession:
    """Open a graph on two threads, quietly: folding leaves scales behind that nothing uses."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options)
