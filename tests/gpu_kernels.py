"""Which operations of a graph a GPU could not run, by TensorFlow's own registry of kernels."""

from tensorflow.python.framework import kernels

# Not computed anywhere: they name a value, or call a function whose own operations are looked at.
STRUCTURE = {'Placeholder', 'PartitionedCall', 'StatefulPartitionedCall', 'NoOp', 'Const'}


def without_gpu_kernel(concrete_function):
    """The operations of a graph, and of the functions it calls, that have no GPU kernel.

    concrete_function: a traced tf.function.
    Returns a sorted list of strings, 'OpType(attribute=dtype, ...)'.
    """
    definition = concrete_function.graph.as_graph_def()
    nodes = list(definition.node)
    for function in definition.library.function:
        nodes.extend(function.node_def)
    return sorted({fault for node in nodes if (fault := _fault(node))})


def _fault(node):
    if node.op in STRUCTURE:
        return None
    types = {name: value.type for name, value in node.attr.items() if value.HasField('type')}
    on_gpu = [
        kernel
        for kernel in kernels.get_registered_kernels_for_op(node.op).kernel
        if kernel.device_type in ('GPU', 'DEFAULT')  # DEFAULT serves every device
    ]
    if any(_takes(kernel, types) for kernel in on_gpu):
        return None
    return f'{node.op}({", ".join(f"{name}={value}" for name, value in sorted(types.items()))})'


def _takes(kernel, types):
    return all(
        types[constraint.name] in constraint.allowed_values.list.type
        for constraint in kernel.constraint
        if constraint.name in types
    )
