//! The ladders that hold where none is written.

use std::time::Duration;

use super::{CaseClass, CaseSeverity, Department, Ladder, Release, Restrict, Step};
use crate::config::BitRate;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

impl Step {
    /// How long a notice without a restriction keeps its case open, unless it is written.
    pub const NOTICE: Duration = DAY;

    const fn notice() -> Self {
        Self { restrict: Restrict::None, cap: None, duration: Some(Self::NOTICE), release: Release::Auto }
    }

    const fn for_a_time(restrict: Restrict, duration: Duration) -> Self {
        Self { restrict, cap: None, duration: Some(duration), release: Release::Auto }
    }

    const fn until(restrict: Restrict, release: Release) -> Self {
        Self { restrict, cap: None, duration: None, release }
    }
}

impl Ladder {
    /// The ladder of a class unless another is written.
    ///
    /// Where the kernel has acted on the source already (scans, floods), the first step only notifies. It
    /// closes mail for a tenant at once, as every provider's policy promises.
    #[must_use]
    pub fn shipped(class: CaseClass) -> Self {
        let serious = |department, decay, steps| Self {
            severity: CaseSeverity::Serious,
            department,
            decay,
            collect: HOUR,
            steps,
        };
        match class {
            CaseClass::Mail => serious(
                Department::Abuse,
                90 * DAY,
                vec![Step::for_a_time(Restrict::Mail, DAY), Step::until(Restrict::Mail, Release::Approval)],
            ),
            CaseClass::Scan => serious(
                Department::Abuse,
                90 * DAY,
                vec![
                    Step::notice(),
                    Step::for_a_time(Restrict::Outbound, DAY),
                    Step::until(Restrict::Everything, Release::Approval),
                ],
            ),
            CaseClass::Flood => serious(
                Department::Abuse,
                90 * DAY,
                vec![
                    Step::notice(),
                    Step::for_a_time(Restrict::Outbound, HOUR),
                    Step::until(Restrict::Everything, Release::Approval),
                ],
            ),
            CaseClass::Compromise => serious(
                Department::Abuse,
                180 * DAY,
                vec![
                    Step::until(Restrict::Everything, Release::Operator),
                    Step::until(Restrict::Everything, Release::Approval),
                ],
            ),
            CaseClass::Usage => Self {
                severity: CaseSeverity::Lesser,
                department: Department::Support,
                decay: 60 * DAY,
                collect: DAY,
                steps: vec![
                    Step::for_a_time(Restrict::None, 7 * DAY),
                    Step {
                        cap: BitRate::from_bits_per_sec(5_000_000),
                        ..Step::for_a_time(Restrict::Cap, 30 * DAY)
                    },
                    Step::until(Restrict::Everything, Release::Approval),
                ],
            },
            CaseClass::Account | CaseClass::Manual => serious(
                Department::Billing,
                365 * DAY,
                vec![Step::until(Restrict::Everything, Release::Operator)],
            ),
        }
    }
}
