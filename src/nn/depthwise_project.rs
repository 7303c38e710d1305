//! An inverted residual without an expansion as one kernel call, where nobody reads the map between its layers.

use super::conv::pixels;
use super::{Context, Conv2d, Depthwise2d, Map};
use crate::kernels::depthwise_project_f32::{DepthwiseProject, Project, depthwise_project_f32, scratch};
use crate::simd::Best;

/// Two layers that follow each other.
pub struct Projected<'a> {
    /// Reads the input.
    pub depthwise: &'a Depthwise2d,
    /// 1x1.
    pub project: &'a Conv2d,
}

impl Projected<'_> {
    /// Both on `input` [h, w, c], which is added where `residual`; none where a layer is in int8 or the map between them is wanted.
    pub fn forward(&self, cx: &mut Context, input: &Map, out_halo: usize, residual: bool) -> Option<Map> {
        let (Map::F32(input), None) = (input, &cx.activations) else { return None };
        // Layers whose bits must not depend on the build are few, and code for them is bytes to fetch.
        let ((panels, false), (filter, false)) = (self.project.floats()?, self.depthwise.filter()?) else {
            return None;
        };
        let (size, at) = self.depthwise.first_tap(input);
        let mut out = cx.workspace.tensor(size.0, size.1, panels.n, out_halo);
        let mut room = cx.workspace.take(scratch(size.1, input.c));
        let to = pixels(&out);
        let both = DepthwiseProject {
            size,
            a: (input.data(), at),
            filter,
            project: Project {
                b: panels.data(),
                n: panels.n,
                activation: self.project.activation(),
                residual: residual.then(|| (input.data(), pixels(input))),
            },
            c: (out.data_mut(), to),
        };
        depthwise_project_f32::<Best>(both, &mut room);
        cx.workspace.give(room);
        Some(Map::F32(out))
    }
}
