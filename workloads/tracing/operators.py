"""ATen's operators: those that hold no GEMM, and those that hold some without showing them.

Every operator that is in no list, of ATen or not, is taken to hold GEMMs until it is known better.
"""

from __future__ import annotations

from typing import Any

import torch


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


KNOWN_NAMESPACES = _names(
    """
    _c10d_functional _c10d_functional_autograd _dtensor accelsim c10d debug_mode_ops debugprims
    export inductor inductor_prims prim prims profiler rngprims streams
    """
)
"""Namespaces without GEMMs in floating point: communication, profiling, and our own products."""

SOFTMAX = _names("_softmax _safe_softmax softmax")
"""Operators whose results are probabilities."""

GATHERS = _names("index index_select")
"""Operators that take whole matrices out of a stack of them, as experts are."""

HIDDEN_WRITES = _names("_c10d_functional c10d")
"""Namespaces of operators between processes, whose schemas do not say what they write to."""

FACTORIZATIONS = _names(
    """
    _cholesky_solve_helper _compute_linear_combination _linalg_det _linalg_eigh _linalg_eigvals
    _linalg_slogdet _linalg_solve_ex _linalg_svd _spsolve cholesky cholesky_inverse cholesky_solve
    geqrf linalg_cholesky_ex linalg_eig linalg_eigvals linalg_householder_product linalg_inv_ex
    linalg_ldl_factor_ex linalg_ldl_solve linalg_lstsq linalg_lu linalg_lu_factor_ex
    linalg_lu_solve linalg_matrix_exp linalg_pinv linalg_qr linalg_solve_triangular ormqr svd
    triangular_solve
    """
)
"""Factorizations and solvers of linear systems, whose GEMMs are inside of LAPACK's routines."""

HIDDEN = _names(
    """
    _cdist_backward _cdist_forward _conv_depthwise2d _cslt_sparse_mm _cslt_sparse_mm_search
    _cudnn_attention_backward _cudnn_attention_forward _cudnn_rnn _cudnn_rnn_backward
    _dyn_quant_matmul_4bit _efficient_attention_backward _efficient_attention_forward
    _euclidean_dist _flash_attention_backward _flash_attention_forward
    _flash_attention_forward_no_dropout_inplace _int_mm _lstm_mps _mixed_dtypes_linear
    _mps_convolution _mps_convolution_transpose _native_multi_head_attention
    _nnpack_spatial_convolution _pdist_backward _pdist_forward
    _scaled_dot_product_attention_math_for_mps _scaled_grouped_mm _scaled_grouped_mm_v2 _scaled_mm
    _scaled_mm_v2 _slow_conv2d_backward _slow_conv2d_forward _sparse_addmm _sparse_mm_reduce_impl
    _sparse_mm_reduce_impl_backward _sparse_semi_structured_addmm _sparse_semi_structured_linear
    _sparse_semi_structured_mm _sparse_sparse_matmul _transformer_encoder_layer_fwd
    _triton_multi_head_attention _triton_scaled_dot_attention _weight_int4pack_mm
    _weight_int4pack_mm_for_cpu _weight_int4pack_mm_with_scales_and_zeros _weight_int8pack_mm
    _wrapped_quantized_linear_prepacked fbgemm_linear_fp16_weight
    fbgemm_linear_fp16_weight_fp32_activation fbgemm_linear_int8_weight
    fbgemm_linear_int8_weight_fp32_activation quantized_gru_cell quantized_lstm_cell
    quantized_rnn_relu_cell quantized_rnn_tanh_cell
    affine_grid_generator conv_depthwise3d conv_tbc cudnn_affine_grid_generator
    cudnn_affine_grid_generator_backward cudnn_convolution cudnn_convolution_add_relu
    cudnn_convolution_relu cudnn_convolution_transpose hspmm linear_backward
    lstm_mps_backward matmul_backward miopen_convolution miopen_convolution_add_relu
    miopen_convolution_relu miopen_convolution_transpose miopen_depthwise_convolution miopen_rnn
    miopen_rnn_backward mkldnn_convolution mkldnn_linear mkldnn_linear_backward
    mkldnn_linear_backward_input mkldnn_linear_backward_weights mkldnn_rnn_layer
    mkldnn_rnn_layer_backward mps_convolution_backward mps_convolution_transpose_backward
    quantized_gru quantized_lstm slow_conv3d_forward slow_conv_dilated2d slow_conv_dilated3d
    slow_conv_transpose2d slow_conv_transpose3d sparse_sampled_addmm sspaddmm
    """
)
"""Operators that multiply matrices in kernels of their own."""

WITHOUT_GEMMS = _names(
    """
    __ilshift __irshift __lshift __rshift _adaptive_avg_pool2d _adaptive_avg_pool3d _add_relu
    _aminmax _amp_foreach_non_finite_check_and_unscale _amp_update_scale _assert_async
    _assert_scalar _assert_tensor_metadata _batch_norm_no_update _batch_norm_with_update
    _batch_norm_with_update_functional _chunk_cat _coalesce _coalesced _conj _conj_physical
    _convert_indices_from_coo_to_csr _convert_indices_from_csr_to_coo _convert_weight_to_int4pack
    _convert_weight_to_int4pack_for_cpu _copy_from _copy_from_and_resize _cslt_compress _ctc_loss
    _cudnn_ctc_loss _cudnn_init_dropout_state _cudnn_rnn_flatten_weight _cummax_helper
    _cummin_helper _dimI _dimV _dirichlet_grad _dyn_quant_pack_4bit_weight _efficientzerotensor
    _embedding_bag _embedding_bag_dense _embedding_bag_forward_only
    _embedding_bag_per_sample_weights _empty_affine_quantized _empty_per_channel_affine_quantized
    _fake_quantize_learnable_per_channel_affine _fake_quantize_learnable_per_tensor_affine
    _fake_quantize_per_tensor_affine_cachemask_tensor_qparams _fft_c2c _fft_c2r _fft_r2c
    _fill_mem_eff_dropout_mask _functional_assert_async _functional_assert_scalar
    _functional_sym_constrain_range _functional_sym_constrain_range_for_size _fused_adagrad
    _fused_adam _fused_adamw _fused_dropout _fused_moving_avg_obs_fq_helper
    _fused_moving_avg_obs_fq_helper_functional _fused_rms_norm _fused_sdp_choice _fused_sgd
    _fw_primal _grid_sampler_2d_cpu_fallback _has_same_storage_numel _histogramdd_bin_edges
    _histogramdd_from_bin_cts _histogramdd_from_bin_tensors _index_put_impl _indices _is_all_true
    _is_any_true _jagged_to_padded_dense_forward _lazy_clone _linalg_check_errors
    _local_scalar_dense _log_softmax _log_softmax_backward_data _logcumsumexp _make_dep_token
    _make_dual _make_per_channel_quantized_tensor _make_per_tensor_quantized_tensor _masked_scale
    _masked_softmax _mkldnn_reshape _mkldnn_transpose _native_batch_norm_legit
    _native_batch_norm_legit_functional _native_batch_norm_legit_no_training _neg_view
    _nested_compute_contiguous_strides_offsets _nested_from_padded
    _nested_from_padded_and_nested_example _nested_from_padded_tensor _nested_get_jagged_dummy
    _nested_get_lengths _nested_get_max_seqlen _nested_get_min_seqlen _nested_get_offsets
    _nested_get_ragged_idx _nested_get_values _nested_select _nested_sum _nested_tensor_from_mask
    _nested_tensor_from_mask_left_aligned _nested_tensor_from_tensor_list _nested_tensor_size
    _nested_tensor_softmax_with_shape _nested_tensor_storage_offsets _nested_tensor_strides
    _nested_view_from_buffer _nested_view_from_jagged _new_zeros_with_same_feature_meta _nnz
    _pack_padded_sequence _padded_dense_to_jagged_forward _philox_key_fold_in _philox_key_split
    _philox_normal _philox_uniform _pin_memory _prelu_kernel _print _reshape _reshape_alias
    _resize_output _safe_softmax _sample_dirichlet _segment_reduce _softmax _softmax_backward_data
    _sparse_broadcast_to _sparse_compressed_tensor_with_dims _sparse_coo_tensor_with_dims
    _sparse_coo_tensor_with_dims_and_tensors _sparse_csr_prod _sparse_csr_sum _sparse_log_softmax
    _sparse_log_softmax_backward_data _sparse_mask_projection _sparse_semi_structured_apply
    _sparse_semi_structured_apply_dense _sparse_semi_structured_tile _sparse_softmax
    _sparse_softmax_backward_data _sparse_sum _spdiags _stack _standard_gamma _standard_gamma_grad
    _thnn_fused_gru_cell _thnn_fused_lstm_cell _thnn_fused_lstm_cell_backward_impl _to _to_dense
    _to_sparse _to_sparse_bsc _to_sparse_bsr _to_sparse_csc _to_sparse_csr
    _to_sparse_semi_structured _transform_bias_rescale_qkv _unique _unique2 _unsafe_index
    _unsafe_index_put _unsafe_masked_index _unsafe_masked_index_put_accumulate _unsafe_view
    _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
    _use_cudnn_ctc_loss _use_miopen_ctc_loss _validate_compressed_sparse_indices _values
    _weight_norm_interface abs acos acosh adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d add addcdiv addcmul addr alias all
    allclose amax amin aminmax angle any arange argmax argmin as_strided as_strided_scatter asin
    asinh atan atan2 atanh avg_pool1d avg_pool2d avg_pool3d bartlett_window batch_norm
    batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats
    batch_norm_gather_stats_with_counts batch_norm_stats batch_norm_update_stats bernoulli
    binary_cross_entropy binary_cross_entropy_with_logits bincount binomial bitwise_and
    bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor blackman_window
    block_diag bucketize cat cauchy ccol_indices ceil celu channel_shuffle clamp clamp_max
    clamp_min clone col2im col_indices complex conj_physical constant_pad_nd copy
    copy_sparse_to_sparse copysign cos cosh count_nonzero crow_indices cudnn_batch_norm
    cudnn_grid_sampler cummax cummin cumprod cumsum deg2rad dense_dim dequantize detach diag_embed
    diagonal diagonal_scatter digamma dist div elu embedding embedding_dense embedding_renorm
    empty empty_like empty_permuted empty_quantized empty_strided eq equal erf erfc erfinv exp
    exp2 expand expm1 exponential eye fake_quantize_per_channel_affine_cachemask
    fake_quantize_per_tensor_affine_cachemask fft_fftfreq fft_rfftfreq fill flip floor
    floor_divide fmax fmin fmod frac fractional_max_pool2d fractional_max_pool3d frexp from_file
    full full_like gather gcd ge gelu geometric glu glu_backward_jvp glu_jvp grid_sampler_2d
    grid_sampler_3d gt hamming_window hann_window hardshrink hardsigmoid hardswish hardtanh
    hash_tensor heaviside histc histogram huber_loss hypot i0 igamma igammac im2col index
    index_add index_fill index_put index_reduce index_select indices int_repr is_coalesced
    is_pinned is_same_size is_set_to isin isinf isnan isneginf isposinf kaiser_window kthvalue lcm
    ldexp le leaky_relu lerp lgamma lift lift_fresh linalg__powsum linalg_cross linalg_vector_norm
    linspace log log10 log1p log2 log_normal log_sigmoid log_sigmoid_forward log_softmax logaddexp
    logaddexp2 logcumsumexp logical_and logical_not logical_or logical_xor logit logspace
    logsumexp lt lu_unpack masked_fill masked_scatter masked_select max max_pool2d
    max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d maximum mean median
    min minimum miopen_batch_norm miopen_ctc_loss mish mkldnn_adaptive_avg_pool2d
    mkldnn_max_pool2d mkldnn_max_pool3d mkldnn_reorder_conv2d_weight mkldnn_reorder_conv3d_weight
    mode mse_loss mul multi_margin_loss multilabel_margin_loss multilabel_margin_loss_forward
    multinomial mvlgamma nan_to_num nanmedian nansum narrow native_batch_norm
    native_channel_shuffle native_dropout native_group_norm native_layer_norm native_norm ne neg
    new_empty new_empty_strided new_full new_ones new_zeros nextafter nll_loss nll_loss2d
    nll_loss2d_forward nll_loss_forward nonzero nonzero_static norm normal normal_functional ones
    ones_like permute pixel_shuffle pixel_unshuffle poisson polar polygamma pow powsum prod put
    q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point qscheme
    quantize_per_channel quantize_per_tensor quantize_per_tensor_dynamic quantized_batch_norm
    quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d rad2deg rand rand_like randint
    randint_like randn randn_like random randperm range reciprocal record_stream reflection_pad1d
    reflection_pad2d reflection_pad3d relu remainder renorm repeat repeat_interleave
    replication_pad1d replication_pad2d replication_pad3d resize resize_as resize_as_sparse roll
    rot90 round row_indices rrelu_with_noise rrelu_with_noise_functional rsqrt rsub scalar_tensor
    scatter scatter_add scatter_reduce searchsorted segment_reduce select select_scatter set sgn
    sigmoid sign signbit silu sin sinc sinh slice slice_inverse slice_scatter smooth_l1_loss
    soft_margin_loss softmax softplus softshrink sort sparse_compressed_tensor sparse_coo_tensor
    sparse_dim sparse_mask sparse_resize sparse_resize_and_clear special_airy_ai special_bessel_j0
    special_bessel_j1 special_bessel_y0 special_bessel_y1 special_chebyshev_polynomial_t
    special_chebyshev_polynomial_u special_chebyshev_polynomial_v special_chebyshev_polynomial_w
    special_entr special_erfcx special_hermite_polynomial_h special_hermite_polynomial_he
    special_i0e special_i1 special_i1e special_laguerre_polynomial_l special_legendre_polynomial_p
    special_log_ndtr special_modified_bessel_i0 special_modified_bessel_i1
    special_modified_bessel_k0 special_modified_bessel_k1 special_ndtri
    special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1
    special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u
    special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w
    special_spherical_bessel_j0 special_xlog1py special_zeta split split_with_sizes sqrt squeeze
    stack std std_mean sub sum sym_constrain_range sym_constrain_range_for_size t take tan tanh
    threshold to_mkldnn to_padded_tensor topk trace transpose tril tril_indices triu triu_indices
    trunc unbind unfold uniform unique_consecutive unique_dim unique_dim_consecutive unsafe_split
    unsafe_split_with_sizes unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_linear1d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d values var
    var_mean view view_as_complex view_as_real where xlogy zero zeros zeros_like
    """
)
"""Operators that hold no GEMM, without what `plain` leaves out of their names."""


def name_of(func: Any) -> str:
    """Return an operator's name with its namespace and without its overload: ``aten::mm``."""
    schema = getattr(func, "_schema", None)
    return str(func) if schema is None else str(schema.name)


def plain(name: str) -> str:
    """Return what the forms of an operator have in common: in place, of lists, its gradient."""
    name = name.rstrip("_").removeprefix("_foreach_")
    for end in ("_backward", "_copy"):
        name = name.removesuffix(end)
    return name.rstrip("_")


def holds_no_gemm(func: Any) -> bool:
    """Whether an operator is known to hold no GEMM in floating point."""
    namespace, _, name = name_of(func).partition("::")
    if namespace in KNOWN_NAMESPACES:
        return name not in FACTORIZATIONS
    return namespace == "aten" and (bool(func.is_view) or plain(name) in WITHOUT_GEMMS)


def has_kernel(func: Any, key: str) -> bool:
    """Whether an operator has a kernel of its own for a dispatch key.

    Those that only TorchScript knows, such as ``prim::device``, have none.
    """
    name = func.name()
    return bool(
        torch._C._dispatch_has_kernel(name)
        and torch._C._dispatch_has_kernel_for_dispatch_key(name, key)
    )


def may_write(func: Any) -> bool:
    """Whether an operator may write to a tensor that it takes."""
    return bool(func._schema.is_mutable) or func.namespace in HIDDEN_WRITES


def is_softmax(func: Any) -> bool:
    """Whether an operator's result is probabilities."""
    return _is_in(SOFTMAX, func)


def gathers(func: Any) -> bool:
    """Whether an operator may take whole matrices out of its first argument."""
    return _is_in(GATHERS, func)


def is_factorization(func: Any) -> bool:
    """Whether an operator multiplies in LAPACK's routines, whatever else is visible of it."""
    return _is_in(FACTORIZATIONS, func)


def is_hidden(func: Any) -> bool:
    """Whether an operator is known to multiply matrices in a kernel of its own."""
    return _is_in(FACTORIZATIONS | HIDDEN, func)


def _is_in(names: frozenset[str], func: Any) -> bool:
    namespace, _, name = name_of(func).partition("::")
    return namespace == "aten" and name.rstrip("_") in names
