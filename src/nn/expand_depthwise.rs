//! An inverted residual's expansion and depthwise layer as one kernel call, where nobody reads the map between them.

use super::conv::pixels;
use super::{Context, Conv2d, Depthwise2d, Map, RowSums};
use crate::kernels::conv_f32::NR;
use crate::kernels::expand_depthwise_f32::{Bands, Expand, ExpandDepthwise, expand_depthwise_f32};
use crate::simd::{Best, Exact};

/// Two layers that follow each other.
pub struct Pair<'a> {
    /// 1x1.
    pub expand: &'a Conv2d,
    /// Reads what it makes.
    pub depthwise: &'a Depthwise2d,
}

impl Pair<'_> {
    /// Runs both on `input` [h, w, c]; fills `row_sums` and `expansion`, the map between them, when given.
    pub fn forward(
        &self,
        cx: &mut Context,
        input: &Map,
        mut row_sums: Option<&mut Option<RowSums>>,
        expansion: Option<&mut Option<Map>>,
    ) -> Map {
        if expansion.is_none()
            && let Some(out) = self.fused_f32(cx, input, row_sums.as_deref_mut())
        {
            return out;
        }
        let expanded = self.expand.forward(cx, input, self.depthwise.padding(), None, None);
        let out = self.depthwise.forward(cx, &expanded, row_sums);
        match expansion {
            Some(expansion) => *expansion = Some(expanded),
            None => cx.give(expanded),
        }
        out
    }

    /// Both at once where both are in f32 and nobody watches the map between them.
    fn fused_f32(&self, cx: &mut Context, input: &Map, row_sums: Option<&mut Option<RowSums>>) -> Option<Map> {
        let ((panels, exact), (filter, filter_exact)) = (self.expand.floats()?, self.depthwise.filter()?);
        if cx.activations.is_some() || filter_exact != exact || !panels.n.is_multiple_of(NR) {
            return None;
        }
        let input = super::View::from(input).f32(cx);
        let bands = Bands::new((input.h, input.w), &filter);
        let (h, w) = bands.size();
        let mut out = cx.workspace.tensor(h, w, panels.n, 0);
        let mut sums = row_sums.is_some().then(|| cx.workspace.take(h * panels.n));
        let mut scratch = cx.workspace.take(bands.scratch());
        let to = pixels(&out);
        let both = ExpandDepthwise {
            expand: Expand {
                size: (input.h, input.w),
                a: (input.data(), pixels(&input)),
                b: panels.data(),
                k: panels.k,
                activation: self.expand.activation(),
            },
            filter,
            c: (out.data_mut(), to),
            row_sums: sums.as_deref_mut(),
        };
        if exact {
            expand_depthwise_f32::<Exact>(both, &mut scratch);
        } else {
            expand_depthwise_f32::<Best>(both, &mut scratch);
        }
        cx.workspace.give(scratch);
        input.give(cx);
        if let Some(row_sums) = row_sums {
            *row_sums = sums.map(RowSums::F32);
        }
        Some(Map::F32(out))
    }
}
