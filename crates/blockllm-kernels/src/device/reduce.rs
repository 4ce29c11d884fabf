//! Reductions over the units of one cube, always in the same order.

use cubecl::prelude::*;

/// The sum of every unit's `value`, known to all units; `scratch` has a place for each of them.
#[cube]
pub fn cube_sum(value: f32, scratch: &mut Shared<[f32]>) -> f32 {
    let unit = UNIT_POS as usize;
    scratch[unit] = value;
    sync_cube();
    let mut width = CUBE_DIM as usize / 2;
    while width > 0 {
        if unit < width {
            let other = scratch[unit + width];
            scratch[unit] += other;
        }
        sync_cube();
        width /= 2;
    }
    let sum = scratch[0];
    sync_cube();
    sum
}

/// The largest of every unit's `value`, known to all units.
#[cube]
pub fn cube_max(value: f32, scratch: &mut Shared<[f32]>) -> f32 {
    let unit = UNIT_POS as usize;
    scratch[unit] = value;
    sync_cube();
    let mut width = CUBE_DIM as usize / 2;
    while width > 0 {
        if unit < width {
            let other = scratch[unit + width];
            scratch[unit] = max(scratch[unit], other);
        }
        sync_cube();
        width /= 2;
    }
    let largest = scratch[0];
    sync_cube();
    largest
}
