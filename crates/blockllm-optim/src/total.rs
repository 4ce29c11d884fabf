//! The sum of a tensor with the same bits each time it is asked for.

use burn::tensor::Tensor;

/// The sum of all entries of `tensor`, `[1]`: rows first, then their sums.
///
/// On cubecl's devices `Tensor::sum` may add the parts of its cubes with atomics, in the order in which they finish:
/// the last bits differ from call to call, and with the gradient's norm every clipped step. Reductions over a
/// dimension keep their order, which an exact resume needs.
pub(crate) fn total<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let dims = tensor.dims();
    let rows = dims[..D - 1].iter().product();
    tensor
        .reshape([rows, dims[D - 1]])
        .sum_dim(1)
        .sum_dim(0)
        .reshape([1])
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use super::total;
    use burn::tensor::{Device, DeviceKind, Distribution, Tensor};
    use std::collections::BTreeSet;

    #[test]
    fn every_call_gives_the_same_bits() {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        for shape in [[64, 64], [256, 48], [1, 4096], [512, 128]] {
            let tensor = Tensor::<2>::random(shape, Distribution::Default, &device);
            let bits = |sum: &dyn Fn() -> Tensor<1>| -> BTreeSet<u32> {
                (0..50).map(|_| sum().into_scalar::<f32>().to_bits()).collect()
            };
            let plain = bits(&|| tensor.clone().sum());
            println!("{shape:?}: `sum` gave {} results", plain.len());
            assert_eq!(bits(&|| total(tensor.clone())).len(), 1, "{shape:?}");
        }
    }
}
