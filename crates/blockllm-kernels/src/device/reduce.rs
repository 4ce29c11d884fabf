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

/// The sum of `value` over the units before this one; `scratch` has a place for each unit.
#[cube]
pub fn sum_before(value: u32, scratch: &mut Shared<[u32]>) -> u32 {
    let unit = UNIT_POS as usize;
    scratch[unit] = value;
    sync_cube();
    let mut distance = 1usize;
    while distance < CUBE_DIM as usize {
        let mut other = 0u32;
        if unit >= distance {
            other = scratch[unit - distance];
        }
        sync_cube();
        scratch[unit] += other;
        sync_cube();
        distance *= 2;
    }
    let sum = scratch[unit] - value;
    sync_cube();
    sum
}
