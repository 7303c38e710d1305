//! An inverted residual's expansion and depthwise layer as one kernel call, where nobody reads the map between them.

use super::conv::{self, pixels, write};
use super::depthwise;
use super::{Context, Conv2d, Depthwise2d, Map, RowSums};
use crate::kernels::expand_depthwise_f32::{Bands, Expand, ExpandDepthwise, expand_depthwise_f32};
use crate::kernels::expand_depthwise_i8::{self, expand_depthwise_i8};
use crate::kernels::pack_f32::NR;
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
            && cx.activations.is_none()
            && let Some(out) = self.fused(cx, input, row_sums.as_deref_mut())
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

    /// Both at once where both are in f32 or both in int8.
    fn fused(&self, cx: &mut Context, input: &Map, row_sums: Option<&mut Option<RowSums>>) -> Option<Map> {
        if !self.expand.out_channels().is_multiple_of(NR) {
            return None;
        }
        match (self.expand.int8(), self.depthwise.int8()) {
            (Some(expand), Some(depthwise)) if self.expand.output().is_bytes => {
                Some(self.fused_i8(cx, input, row_sums, (expand, depthwise)))
            }
            _ => self.fused_f32(cx, input, row_sums),
        }
    }

    fn fused_i8(
        &self,
        cx: &mut Context,
        input: &Map,
        row_sums: Option<&mut Option<RowSums>>,
        (expand, depthwise): (&conv::Int8, &depthwise::Int8),
    ) -> Map {
        let input = super::View::from(input).u8(cx, &expand.input);
        let (output, channels, (stride, dilation)) =
            (self.depthwise.output(), self.expand.out_channels(), self.depthwise.steps());
        let filter = depthwise.packed.filter(stride, dilation);
        let bands = Bands::new((input.h, input.w), &filter);
        let (h, w) = bands.size();
        let (a, size) = ((input.data(), pixels(&input)), (input.h, input.w));
        let expand = expand_depthwise_i8::Expand { size, a, b: &expand.packed, epilogue: &expand.epilogue };
        let wanted = row_sums.is_some() && output.is_bytes;
        let mut sums = wanted.then(|| cx.workspace.take(h * channels));
        let mut packed = cx.workspace.take(expand.packed());
        let mut scratch = cx.workspace.take(expand_depthwise_i8::scratch(&bands));
        let out = write(cx, output, (h, w, channels), 0, &mut |c| {
            let (epilogue, row_sums) = (&depthwise.epilogue, sums.as_deref_mut());
            let both = expand_depthwise_i8::ExpandDepthwise { expand, filter, epilogue, c, row_sums };
            expand_depthwise_i8::<Best>(both, &mut packed, &mut scratch);
        });
        cx.workspace.give(packed);
        cx.workspace.give(scratch);
        input.give(cx);
        if let Some(row_sums) = row_sums {
            *row_sums = sums.map(RowSums::U8);
        }
        out
    }

    fn fused_f32(&self, cx: &mut Context, input: &Map, row_sums: Option<&mut Option<RowSums>>) -> Option<Map> {
        let ((panels, exact), (filter, filter_exact)) = (self.expand.floats()?, self.depthwise.filter()?);
        if filter_exact != exact {
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
                a: input.data(),
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
