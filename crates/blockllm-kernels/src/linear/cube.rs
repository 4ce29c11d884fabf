//! On GPUs linear layers are burn's, which know tensor cores.

use burn_cubecl::CubeBackend;

use super::LinearBackend;

impl LinearBackend for CubeBackend {}
