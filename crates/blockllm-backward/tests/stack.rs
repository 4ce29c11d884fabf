//! The pass by layers beside the whole backward pass, on a small stack of one's own.
use blockllm_backward::{GradientSum, GradientsParams, Stack, backward_of_sum};
use blockllm_kernels::{dropout, dropout_state, next_dropout_seed, seed_dropout};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::collections::BTreeMap;
use std::convert::Infallible;

const WIDTH: usize = 6;

#[derive(Module, Debug)]
struct Tower {
    entry: Linear,
    layers: Vec<Linear>,
    head: Option<Linear>,
}

impl Tower {
    fn new(device: &Device, tied: bool) -> Self {
        device.seed(7);
        let square = || LinearConfig::new(WIDTH, WIDTH).init(device);
        Self {
            entry: square(),
            layers: (0..3).map(|_| square()).collect(),
            head: (!tied).then(square),
        }
    }

    /// A stack of three layers that drop a quarter of what they give.
    fn stack(&self, x: Tensor<2>) -> Stack<'static, Self, 2> {
        let shared: Vec<ParamId> = match self.head {
            Some(_) => Vec::new(),
            None => vec![
                self.entry.weight.id,
                self.entry.bias.as_ref().expect("it has a bias").id,
            ],
        };
        Stack::new(
            move |model: &Self| dropped(model.entry.forward(x.clone())),
            |model| &model.layers,
            |layer, hidden| hidden.clone() + dropped(layer.forward(hidden).tanh()),
            |model, hidden| {
                let head = model.head.as_ref().unwrap_or(&model.entry);
                head.forward(hidden).square().mean()
            },
        )
        .with_shared(shared)
    }
}

fn dropped(x: Tensor<2>) -> Tensor<2> {
    dropout(x, 0.25, next_dropout_seed())
}

fn input(device: &Device, seed: usize) -> Tensor<2> {
    let values: Vec<f32> = (0..4 * WIDTH)
        .map(|i| ((i * 37 + seed * 11) % 23) as f32 / 11.0 - 1.0)
        .collect();
    Tensor::from_data(TensorData::new(values, [4, WIDTH]), device)
}

struct Reader<'a> {
    path: Vec<String>,
    gradients: &'a GradientsParams,
    found: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Reader<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let numbers = gradient.into_data().iter::<f32>().collect();
            self.found.insert(self.path.join("."), numbers);
        }
    }
}

type Numbers = BTreeMap<String, Vec<f32>>;

fn numbers(model: &Tower, gradients: &GradientsParams) -> Numbers {
    let mut reader = Reader {
        path: Vec::new(),
        gradients,
        found: BTreeMap::new(),
    };
    model.visit(&mut reader);
    reader.found
}

/// Loss, gradients and the place in the sequence of dropout seeds after the whole pass.
fn whole(model: &Tower, stacks: &[Stack<'_, Tower, 2>]) -> (f32, Numbers, u64) {
    seed_dropout(5);
    let loss = stacks
        .iter()
        .map(|stack| stack.loss(model))
        .reduce(|sum, loss| sum + loss)
        .expect("there is a stack");
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    (loss.into_scalar(), numbers(model, &gradients), dropout_state())
}

/// The same layer by layer, and which parameters came in which part.
fn by_layers(model: &Tower, stacks: &[Stack<'_, Tower, 2>]) -> (f32, Numbers, u64, Vec<Vec<String>>) {
    seed_dropout(5);
    let (mut all, mut parts) = (Numbers::new(), Vec::new());
    let (_, loss) = backward_of_sum(stacks, model.clone(), |model, gradients| {
        let part = numbers(&model, &gradients);
        parts.push(part.keys().cloned().collect());
        all.extend(part);
        Ok::<_, Infallible>(model)
    })
    .expect("nothing fails");
    (loss.into_scalar(), all, dropout_state(), parts)
}

fn assert_equal(left: &Numbers, right: &Numbers) {
    assert_eq!(left.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
    for (path, left) in left {
        for (left, right) in left.iter().zip(&right[path]) {
            assert!((left - right).abs() < 1e-6, "{path}: {left} and {right}");
        }
    }
}

fn assert_same(model: &Tower, stacks: &[Stack<'_, Tower, 2>]) -> Vec<Vec<String>> {
    let (loss, gradients, dropout) = whole(model, stacks);
    let (found, found_gradients, found_dropout, parts) = by_layers(model, stacks);
    assert!((loss - found).abs() < 1e-6, "{loss} and {found}");
    assert_equal(&gradients, &found_gradients);
    assert_eq!(dropout, found_dropout);
    parts
}

/// The backends that this build has.
fn devices() -> Vec<Device> {
    vec![
        Device::flex().autodiff(),
        #[cfg(feature = "wgpu")]
        Device::wgpu(burn::tensor::DeviceKind::DefaultDevice).autodiff(),
    ]
}

fn of(layer: &str) -> Vec<String> {
    vec![format!("{layer}.bias"), format!("{layer}.weight")]
}

#[test]
fn parts_come_from_the_top_down_and_are_those_of_the_whole_pass_with_dropout() {
    for device in devices() {
        let model = Tower::new(&device, false);
        let stack = [model.stack(input(&device, 1))];
        let parts = assert_same(&model, &stack);
        let expected = ["head", "layers.2", "layers.1", "layers.0", "entry"].map(of);
        assert_eq!(parts, expected);
    }
}

#[test]
fn a_head_that_is_the_entry_comes_last_with_both_its_gradients() {
    let device = Device::flex().autodiff();
    let model = Tower::new(&device, true);
    let parts = assert_same(&model, &[model.stack(input(&device, 1))]);
    assert_eq!(parts, ["layers.2", "layers.1", "layers.0", "entry"].map(of));
}

#[test]
fn it_ends_at_the_lowest_trained_layer() {
    let device = Device::flex().autodiff();
    let mut model = Tower::new(&device, false).no_grad();
    model.layers[1] = model.layers[1].clone().set_require_grad(true);
    let parts = assert_same(&model, &[model.stack(input(&device, 1))]);
    assert_eq!(parts, [of("layers.1")]);

    let mut model = model.no_grad();
    model.head = model.head.map(|head| head.set_require_grad(true));
    let parts = assert_same(&model, &[model.stack(input(&device, 1))]);
    assert_eq!(parts, [of("head")]);
}

#[test]
fn with_nothing_to_train_there_is_a_loss_and_no_part() {
    let device = Device::flex().autodiff();
    let model = Tower::new(&device, false).no_grad();
    let (loss, gradients, _, parts) = by_layers(&model, &[model.stack(input(&device, 1))]);
    assert!(loss > 0.0);
    assert!(gradients.is_empty() && parts.is_empty());
}

#[test]
fn micro_batches_are_summed_within_each_part() {
    let device = Device::flex().autodiff();
    let model = Tower::new(&device, false);
    let stacks = [1, 2, 3].map(|seed| model.stack(input(&device, seed)).scaled(0.2 * seed as f64));
    let parts = assert_same(&model, &stacks);
    assert_eq!(parts.len(), 5);
}

#[test]
fn what_is_taken_may_be_changed_at_once() {
    let device = Device::flex().autodiff();
    let model = Tower::new(&device, false);
    let stack = model.stack(input(&device, 1));
    let (_, gradients, _) = whole(&model, std::slice::from_ref(&stack));
    let before = model.clone();
    seed_dropout(5);
    let (changed, _) = stack
        .backward(model, |mut model, part| {
            for layer in &mut model.layers {
                if let Some(gradient) = part.get::<2>(layer.weight.id) {
                    let weight = layer.weight.val().inner() - gradient;
                    layer.weight =
                        Param::initialized(layer.weight.id, Tensor::from_inner(weight).require_grad());
                }
            }
            Ok::<_, Infallible>(model)
        })
        .expect("nothing fails");
    for (index, layer) in changed.layers.iter().enumerate() {
        let moved = before.layers[index].weight.val().inner() - layer.weight.val().inner();
        let moved: Vec<f32> = moved.into_data().iter::<f32>().collect();
        for (moved, gradient) in moved.iter().zip(&gradients[&format!("layers.{index}.weight")]) {
            assert!((moved - gradient).abs() < 1e-6);
        }
    }
}

#[test]
#[should_panic(expected = "Stack::with_shared")]
fn a_parameter_in_two_parts_that_is_not_named_as_shared_is_a_panic() {
    let device = Device::flex().autodiff();
    let stack = Stack::new(
        |model: &Tower| model.entry.forward(input(&Device::flex().autodiff(), 1)),
        |model| &model.layers,
        |layer, hidden| layer.forward(hidden).tanh(),
        |model, hidden| model.entry.forward(hidden).mean(),
    );
    let _ = stack.backward(Tower::new(&device, false), |model, _| Ok::<_, Infallible>(model));
}

#[test]
fn sums_in_bf16_do_not_lose_small_summands() {
    let device = Device::flex().autodiff();
    let layer: Linear = LinearConfig::new(1, 1).with_bias(false).init(&device);
    let gradient = |value: f32| {
        let mut gradients = GradientsParams::new();
        let value = Tensor::<2>::full([1, 1], value, (&Device::flex(), DType::BF16));
        gradients.register(layer.weight.id, value);
        gradients
    };
    let mut sum = GradientSum::default();
    sum.add(&layer, gradient(1.0));
    for _ in 0..512 {
        sum.add(&layer, gradient(1.0 / 512.0));
    }
    let total = sum.take().get::<2>(layer.weight.id).expect("it was added");
    // bf16 has 8 bits: 1 + 1/512 is 1.
    assert!((total.into_scalar::<f32>() - 2.0).abs() < 1e-6);
}

#[test]
fn parameters_that_nothing_has_touched_are_trained_too() {
    let device = Device::flex().autodiff();
    let model = Tower::new(&device, false);
    let stack = model.stack(input(&device, 1));
    let mut parts = Vec::new();
    stack
        .backward(model, |model, part| {
            parts.push(part.len());
            Ok::<_, Infallible>(model)
        })
        .expect("nothing fails");
    assert_eq!(parts, [2; 5]);
}
