//! The numbers inside a model by path, and how far two such sets are apart.
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};

/// Numbers by parameter path.
pub type Numbers = BTreeMap<String, Vec<f32>>;

/// The numbers of a tensor, row-major.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .inner()
        .into_data()
        .convert::<f32>()
        .try_into_vec()
        .unwrap()
}

/// All weights of `model`.
pub fn weights<M: Module>(model: &M) -> Numbers {
    collect(model, None)
}

/// All gradients that there are.
#[cfg(feature = "wgpu")]
pub fn gradients<M: Module>(model: &M, gradients: &GradientsParams) -> Numbers {
    collect(model, Some(gradients))
}

/// Positions whose bits differ, by path; paths without any are left out.
pub fn changed(before: &Numbers, after: &Numbers) -> BTreeMap<String, BTreeSet<usize>> {
    assert!(before.keys().eq(after.keys()));
    let differing = |path: &String| {
        let pairs = before[path].iter().zip(&after[path]).enumerate();
        pairs
            .filter(|(_, (a, b))| a.to_bits() != b.to_bits())
            .map(|(position, _)| position)
            .collect::<BTreeSet<_>>()
    };
    before
        .keys()
        .map(|path| (path.clone(), differing(path)))
        .filter(|(_, positions)| !positions.is_empty())
        .collect()
}

/// The largest absolute difference of two vectors; not a number counts as infinite.
pub fn max_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences
        .map(|error| if error.is_nan() { f32::INFINITY } else { error })
        .fold(0.0, f32::max)
}

/// [`max_error`] over all paths, which must be the same, with the path of the worst.
pub fn worst(found: &Numbers, expected: &Numbers) -> (String, f32) {
    assert!(
        found.keys().eq(expected.keys()),
        "{:?} beside {:?}",
        found.keys(),
        expected.keys()
    );
    let errors = found
        .iter()
        .map(|(path, found)| (path.clone(), max_error(found, &expected[path])));
    errors.max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap()
}

fn collect<M: Module>(model: &M, gradients: Option<&GradientsParams>) -> Numbers {
    let mut collector = Collector {
        path: Vec::new(),
        gradients,
        found: BTreeMap::new(),
    };
    model.visit(&mut collector);
    collector.found
}

/// Collects weights, or gradients where they are given.
struct Collector<'a> {
    path: Vec<String>,
    gradients: Option<&'a GradientsParams>,
    found: Numbers,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let numbers = match self.gradients {
            None => Some(values(param.val())),
            Some(gradients) => gradients.get::<D>(param.id).map(values),
        };
        if let Some(numbers) = numbers {
            self.found.insert(self.path.join("."), numbers);
        }
    }
}
