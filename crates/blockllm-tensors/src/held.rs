//! A tensor that can be written: on its device, on the host, or in another file.

use crate::{PIECE, StoredTensor, TensorFileError};
use burn::tensor::{DType, Int, Tensor, TensorData};
use std::fmt;
use std::sync::Arc;

/// A tensor in the shape and number format that it is written in. A clone shares its memory.
#[derive(Clone)]
pub struct HeldTensor {
    shape: Vec<usize>,
    dtype: DType,
    values: Values,
}

#[derive(Clone)]
enum Values {
    /// A matrix that is made when it is asked for; written by columns where `transposed`.
    Float {
        make: Make,
        transposed: bool,
    },
    Int(Box<Tensor<1, Int>>),
    Host(TensorData),
    Stored(StoredTensor),
}

type Make = Arc<dyn Fn() -> Tensor<2> + Send + Sync>;

impl HeldTensor {
    /// A float tensor outside autodiff, shared with whoever has it.
    pub fn float<const D: usize>(values: Tensor<D>) -> Self {
        let (shape, dtype) = (values.dims().to_vec(), values.dtype());
        let matrix = values.reshape([1, -1]);
        Self {
            shape,
            dtype,
            values: Values::Float {
                make: Arc::new(move || matrix.clone()),
                transposed: false,
            },
        }
    }

    /// A matrix of `[rows, columns]` that is written as `[columns, rows]`.
    pub fn transposed(matrix: Tensor<2>) -> Self {
        let ([rows, columns], dtype) = (matrix.dims(), matrix.dtype());
        Self::made([rows, columns], dtype, true, move || matrix.clone())
    }

    /// A matrix of `[rows, columns]` that `make` gives while it is being written, and that nobody has before.
    pub fn made(
        [rows, columns]: [usize; 2],
        dtype: DType,
        transposed: bool,
        make: impl Fn() -> Tensor<2> + Send + Sync + 'static,
    ) -> Self {
        let shape = if transposed {
            vec![columns, rows]
        } else {
            vec![rows, columns]
        };
        Self {
            shape,
            dtype,
            values: Values::Float {
                make: Arc::new(make),
                transposed,
            },
        }
    }

    /// Integers on a device.
    pub fn ints(values: Tensor<1, Int>) -> Self {
        Self {
            shape: values.dims().to_vec(),
            dtype: values.dtype(),
            values: Values::Int(Box::new(values)),
        }
    }

    /// The shape that is written.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Entries.
    pub fn num_elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The number format that is written.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Written in another number format: floats alone.
    #[must_use]
    pub fn in_format(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Bytes that are written.
    pub fn bytes(&self) -> u64 {
        self.num_elements() as u64 * self.dtype.size() as u64
    }

    /// All numbers at once on the host, in the shape that is written and the type that they have.
    ///
    /// # Errors
    /// When the device or the file fails.
    pub fn into_data(self, name: &str) -> Result<TensorData, TensorFileError> {
        match self.values {
            Values::Float { make, transposed } => {
                let matrix = make();
                // The maker may hold the same memory: without it a host tensor is handed over and not copied.
                drop(make);
                let matrix = if transposed { matrix.transpose() } else { matrix };
                let (bytes, _, dtype) = read(matrix.try_into_data(), name)?.into_parts();
                Ok(TensorData::from_bytes(bytes, self.shape, dtype))
            }
            Values::Int(values) => read((*values).try_into_data(), name),
            Values::Host(data) => Ok(data),
            Values::Stored(stored) => stored.read(self.dtype, false),
        }
    }

    /// All numbers in f32, in the shape that is written.
    ///
    /// # Errors
    /// As [`into_data`](Self::into_data).
    pub fn to_f32(&self, name: &str) -> Result<Vec<f32>, TensorFileError> {
        Ok(self.clone().into_data(name)?.iter::<f32>().collect())
    }

    /// Gives the numbers to `use_piece` in the order in which they are written, a few MiB at a time.
    pub(crate) fn in_pieces(
        &self,
        name: &str,
        use_piece: &mut dyn FnMut(&TensorData) -> Result<(), TensorFileError>,
    ) -> Result<(), TensorFileError> {
        match &self.values {
            Values::Float { make, transposed } => {
                let matrix = make();
                let entries = PIECE / matrix.dtype().size();
                let [rows, columns] = matrix.dims();
                if !*transposed {
                    let flat = matrix.reshape([rows * columns]);
                    for (start, length) in pieces(rows * columns, entries) {
                        use_piece(&read(
                            flat.clone().narrow(0, start, length).try_into_data(),
                            name,
                        )?)?;
                    }
                    return Ok(());
                }
                for (start, length) in pieces(columns, entries / rows.max(1)) {
                    let band = matrix.clone().narrow(1, start, length).transpose();
                    use_piece(&read(band.try_into_data(), name)?)?;
                }
                Ok(())
            }
            Values::Int(values) => {
                let entries = PIECE / values.dtype().size();
                for (start, length) in pieces(values.dims()[0], entries) {
                    use_piece(&read(
                        values.clone().narrow(0, start, length).try_into_data(),
                        name,
                    )?)?;
                }
                Ok(())
            }
            Values::Host(data) => use_piece(data),
            Values::Stored(stored) => use_piece(&stored.read(self.dtype, false)?),
        }
    }
}

/// Start and length of each piece of `whole`, of at most `most`.
fn pieces(whole: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let most = most.max(1);
    (0..whole)
        .step_by(most)
        .map(move |start| (start, most.min(whole - start)))
}

fn read<E: fmt::Display>(data: Result<TensorData, E>, name: &str) -> Result<TensorData, TensorFileError> {
    data.map_err(|error| TensorFileError::Device {
        tensor: name.to_owned(),
        message: error.to_string(),
    })
}

impl From<TensorData> for HeldTensor {
    fn from(data: TensorData) -> Self {
        Self {
            shape: data.shape().to_vec(),
            dtype: data.dtype(),
            values: Values::Host(data),
        }
    }
}

impl From<StoredTensor> for HeldTensor {
    fn from(stored: StoredTensor) -> Self {
        Self {
            shape: stored.shape().to_vec(),
            dtype: stored.dtype().unwrap_or(DType::F32),
            values: Values::Stored(stored),
        }
    }
}

impl fmt::Debug for HeldTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldTensor")
            .field("shape", &self.shape)
            .field("dtype", &self.dtype)
            .finish_non_exhaustive()
    }
}
