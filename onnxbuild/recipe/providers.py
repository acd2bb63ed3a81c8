"""The table of execution providers: names, where each comes from, what it needs and takes; imports no runtime."""

from __future__ import annotations

from dataclasses import dataclass, field

OptionKind = str | tuple[str, ...]
"""What an option takes: integer, boolean, text, json (a mapping, handed over as JSON), or one of these words."""


@dataclass(frozen=True)
class Simulator:
    """What a plug-in brings to run models where its own device is not: on a kind of device of some machines.

    `name` is how it is called; `options` are what chooses it unless the recipe says one of `instead`. What is
    measured on it never passes a gate.
    """

    kind: str
    machines: tuple[str, ...]
    name: str
    options: dict[str, str]
    instead: tuple[str, ...]


@dataclass(frozen=True)
class Plugin:
    """A provider that comes as a library of its own.

    `package` is the distribution, `module` the import package whose `get_library_path()` says where the library is;
    it is registered under the provider's full name. `devices` are the kinds of device (CPU, GPU, NPU) it is asked for
    in this order; the recipe's `device_type`, where the table lists it, names one instead and goes to nobody else.
    """

    package: str
    module: str
    devices: tuple[str, ...]
    simulator: Simulator | None = None


@dataclass(frozen=True)
class ProviderEntry:
    """One provider. Without a `plugin` it is part of some builds of ONNX Runtime.

    `needs` is what it takes to have a device of it, `get` the command that installs it, None where no command does.
    `packages` are distributions, besides the runtime's and the plug-in's, whose versions decide whether it loads.
    `then` are providers that take, before the CPU, what it does not.
    `rounds` says how it computes float32 less precisely than that unless an option keeps it from that.
    `options` None: the tool does not tell which there are, so none is refused here. `compiles`: ONNX Runtime's compile
    API makes a model of it that holds what the provider compiled.
    """

    name: str
    full_name: str
    needs: str
    get: str | None = None
    plugin: Plugin | None = None
    packages: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    rounds: str | None = None
    options: dict[str, OptionKind] | None = field(default_factory=dict)
    compiles: bool = False

    @property
    def distributions(self) -> tuple[str, ...]:
        """All distributions, besides ONNX Runtime's, whose versions decide whether it loads and what it computes."""
        return (*((self.plugin.package,) if self.plugin is not None else ()), *self.packages)


_CUDA_PACKAGES = (
    "nvidia-cuda-runtime", "nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-cufft", "nvidia-curand", "nvidia-cuda-nvrtc",
)  # fmt: skip
_CUDA_OPTIONS: dict[str, OptionKind] = {
    "device_id": "integer",
    "gpu_mem_limit": "integer",
    "arena_extend_strategy": ("kNextPowerOfTwo", "kSameAsRequested"),
    "cudnn_conv_algo_search": ("EXHAUSTIVE", "HEURISTIC", "DEFAULT"),
    "do_copy_in_default_stream": "boolean",
    "cudnn_conv_use_max_workspace": "boolean",
    "cudnn_conv1d_pad_to_nc1d": "boolean",
    "enable_cuda_graph": "boolean",
    "tunable_op_enable": "boolean",
    "tunable_op_tuning_enable": "boolean",
    "tunable_op_max_tuning_duration_ms": "integer",
    "enable_skip_layer_norm_strict_mode": "boolean",
    "prefer_nhwc": "boolean",
    "use_ep_level_unified_stream": "boolean",
    "use_tf32": "boolean",
    "sdpa_kernel": "integer",
    "fuse_conv_bias": "boolean",
}
_TENSORRT_OPTIONS: dict[str, OptionKind] = {
    "device_id": "integer",
    "trt_auxiliary_streams": "integer",
    "trt_bf16_enable": "boolean",
    "trt_build_heuristics_enable": "boolean",
    "trt_builder_optimization_level": "integer",
    "trt_context_memory_sharing_enable": "boolean",
    "trt_cuda_graph_enable": "boolean",
    "trt_detailed_build_log": "boolean",
    "trt_dla_core": "integer",
    "trt_dla_enable": "boolean",
    "trt_engine_hw_compatible": "boolean",
    "trt_force_sequential_engine_build": "boolean",
    "trt_fp16_enable": "boolean",
    "trt_int8_calibration_table_name": "text",
    "trt_int8_enable": "boolean",
    "trt_int8_use_native_calibration_table": "boolean",
    "trt_layer_norm_fp32_fallback": "boolean",
    "trt_max_partition_iterations": "integer",
    "trt_max_workspace_size": "integer",
    "trt_min_subgraph_size": "integer",
    "trt_op_types_to_exclude": "text",
    "trt_preview_features": "text",
    "trt_profile_max_shapes": "text",
    "trt_profile_min_shapes": "text",
    "trt_profile_opt_shapes": "text",
    "trt_sparsity_enable": "boolean",
    "trt_tactic_sources": "text",
}
_OPENVINO_OPTIONS: dict[str, OptionKind] = {
    "device_type": ("CPU", "GPU", "NPU"),
    "load_config": "json",
    "reshape_input": "text",
    "enable_causallm": "boolean",
    "hint_enable_gqa": "boolean",
}
"""What the plug-in reads. The others of old, such as `precision` and `num_of_threads`, it ignores with a log line:
their place is `load_config: {CPU: {INFERENCE_PRECISION_HINT: f32}}`."""

_QNN_OPTIONS: dict[str, OptionKind] = {
    "backend_type": ("cpu", "gpu", "htp", "saver", "ir"),
    "backend_path": "text",
    "device_id": "integer",
    "device_type": ("NPU", "GPU", "CPU"),
    "disable_file_mapped_weights": "boolean",
    "dump_json_qnn_graph": "boolean",
    "dump_qnn_ep_input_graph": "boolean",
    "dump_qnn_ep_input_graph_dir": "text",
    "dump_qnn_ir_dlc": "boolean",
    "dump_qnn_ir_dlc_dir": "text",
    "enable_block_quant_weight_optimization": "boolean",
    "enable_dx12_shared_memory_allocator": "boolean",
    "enable_framework_op_trace": "boolean",
    "enable_htp_fp16_clamp_overflow": "boolean",
    "enable_htp_fp16_precision": "boolean",
    "enable_htp_graph_splitting": "boolean",
    "enable_htp_monolithic_lstm": "boolean",
    "enable_htp_prepare_and_load": "boolean",
    "enable_htp_shared_memory_allocator": "boolean",
    "enable_htp_spill_fill_buffer": "boolean",
    "enable_vtcm_backup_buffer_sharing": "boolean",
    "extended_udma": "boolean",
    "framework_op_trace_dir": "text",
    "genie_log_level": ("error", "warn", "info", "verbose"),
    "htp_arch": "integer",
    "htp_bf16_enable": "boolean",
    "htp_graph_finalization_optimization_mode": ("0", "1", "2", "3"),
    "htp_graph_splitting_num_prepare_threads": "integer",
    "htp_performance_mode": (
        "burst", "balanced", "default", "high_performance", "high_power_saver", "low_balanced", "low_power_saver",
        "power_saver", "extreme_power_saver", "sustained_high_performance",
    ),
    "htp_reused_io_limit_mb": "integer",
    "htp_share_resource_optimization": ("1",),
    "json_qnn_graph_dir": "text",
    "num_graph_prepare_threads": "integer",
    "offload_graph_io_quantization": "boolean",
    "op_packages": "text",
    "profiling_file_path": "text",
    "profiling_level": ("off", "basic", "detailed", "optrace"),
    "qnn_context_priority": ("low", "normal", "normal_high", "high"),
    "qnn_ir_backend_path": "text",
    "qnn_saver_path": "text",
    "rpc_control_latency": "integer",
    "skip_backend_op_validation": "boolean",
    "skip_qnn_version_check": "boolean",
    "soc_model": "integer",
    "vtcm_mb": "integer",
}  # fmt: skip
"""What its documentation lists and its library reads. Others, and some wrong values, it ignores without a word."""

_ENTRIES = (
    ProviderEntry("cpu", "CPUExecutionProvider", needs="nothing"),
    ProviderEntry(
        "cuda",
        "CUDAExecutionProvider",
        needs="an NVIDIA GPU with its driver, CUDA 13 and cuDNN 9",
        get="pip install 'onnxruntime-gpu[cuda,cudnn]'",
        packages=_CUDA_PACKAGES,
        rounds="it multiplies float32 as TF32, with 10 bits of mantissa; `options: {use_tf32: 0}` does not",
        options=_CUDA_OPTIONS,
    ),
    ProviderEntry(
        "tensorrt",
        "TensorrtExecutionProvider",
        needs="an NVIDIA GPU with its driver, CUDA 13, cuDNN 9 and TensorRT 10",
        get="pip install 'onnxruntime-gpu[cuda,cudnn]' 'tensorrt-cu13>=10,<11'",
        packages=(*_CUDA_PACKAGES, "tensorrt-cu13", "tensorrt-cu13-libs"),
        then=("CUDAExecutionProvider",),
        options=_TENSORRT_OPTIONS,
    ),
    ProviderEntry(
        "openvino",
        "OpenVINOExecutionProvider",
        needs="an Intel CPU, GPU or NPU",
        get="pip install 'onnxbuild[openvino]'",
        plugin=Plugin("onnxruntime-ep-openvino", "onnxruntime_ep_openvino", ("CPU",)),
        rounds="it computes in bfloat16 where the CPU can; "
        "`options: {load_config: {CPU: {INFERENCE_PRECISION_HINT: f32}}}` does not",
        options=_OPENVINO_OPTIONS,
        compiles=True,
    ),
    ProviderEntry(
        "coreml",
        "CoreMLExecutionProvider",
        needs="macOS",
        options={
            "ModelFormat": ("NeuralNetwork", "MLProgram"),
            "MLComputeUnits": ("ALL", "CPUOnly", "CPUAndGPU", "CPUAndNeuralEngine"),
            "RequireStaticInputShapes": "boolean",
            "EnableOnSubgraphs": "boolean",
            "SpecializationStrategy": ("Default", "FastPrediction"),
            "ProfileComputePlan": "boolean",
            "AllowLowPrecisionAccumulationOnGPU": "boolean",
            "ModelCacheDirectory": "text",
        },
    ),
    ProviderEntry(
        "directml",
        "DmlExecutionProvider",
        needs="Windows with a DirectX 12 GPU and a build of ONNX Runtime with DirectML",
        options={"device_id": "integer"},
    ),
    ProviderEntry(
        "qnn",
        "QNNExecutionProvider",
        needs="a Qualcomm device",
        # It asks for the distribution onnxruntime, which would overwrite the files of onnxruntime-gpu.
        get="pip install --no-deps onnxruntime-qnn",
        plugin=Plugin(
            "onnxruntime-qnn",
            "onnxruntime_qnn",
            ("NPU", "GPU", "CPU"),
            Simulator(
                "CPU",
                ("x86_64", "AMD64"),
                "Qualcomm's simulator of its HTP",
                {"backend_type": "htp"},
                instead=("backend_type", "backend_path"),
            ),
        ),
        rounds="it computes in float16; `options: {enable_htp_fp16_precision: 0}` does not, where the device can",
        options=_QNN_OPTIONS,
        compiles=True,
    ),
    ProviderEntry(
        "webgpu",
        "WebGpuExecutionProvider",
        needs="a GPU with a Vulkan, Metal or Direct3D 12 driver",
        get="pip install onnxruntime-ep-webgpu",
        plugin=Plugin("onnxruntime-ep-webgpu", "onnxruntime_ep_webgpu", ("GPU",)),
        options=None,
    ),
    ProviderEntry(
        "migraphx",
        "MIGraphXExecutionProvider",
        needs="an AMD GPU with ROCm and a build of ONNX Runtime with MIGraphX",
        options=None,
    ),
    ProviderEntry(
        "xnnpack",
        "XnnpackExecutionProvider",
        needs="a build of ONNX Runtime with XNNPACK",
        options={"intra_op_num_threads": "integer"},
    ),
    ProviderEntry(
        "nv-tensorrt-rtx",
        "NvTensorRTRTXExecutionProvider",
        needs="an NVIDIA RTX GPU of compute capability 8.6, 8.9 or from 12.0 on, with its driver",
        get="pip install onnxruntime-ep-nv-tensorrt-rtx",
        plugin=Plugin("onnxruntime-ep-nv-tensorrt-rtx-cu13", "onnxruntime_ep_nv_tensorrt_rtx", ("GPU",)),
        packages=("onnxruntime-ep-nv-tensorrt-rtx", "tensorrt-rtx", *_CUDA_PACKAGES),
        options=None,
        compiles=True,
    ),
)

TABLE: dict[str, ProviderEntry] = {entry.name: entry for entry in _ENTRIES}
"""By short name, in the order in which they are listed."""

COMPILING: tuple[str, ...] = tuple(entry.name for entry in _ENTRIES if entry.compiles)
"""The providers whose models can be compiled ahead."""
