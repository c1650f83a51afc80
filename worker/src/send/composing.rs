//! What is sent: the text of a job, its code in it.

use super::{Code, Job, KeyRing, Sender, Sms, Task, Template, template};

impl Sender {
    /// The SMS of a job, or the word of what is wrong with it.
    pub(super) fn sms(&self, task: &Task) -> Result<Sms, &'static str> {
        let job = &task.job;
        let template = self.template(job).ok_or("template_unknown")?;
        let code = self.code(job);
        let mut params = task.contents.params.clone();
        if let Some(code) = &code {
            params.insert("code".to_owned(), code.expose().to_owned());
        }
        let mut places = params.clone();
        places.insert("sign".to_owned(), template.sign.clone());
        if let Some(verification) = &job.verification {
            places.insert(
                "minutes".to_owned(),
                verification.ttl_ms.unsigned_abs().div_ceil(60_000).to_string(),
            );
        }
        let text = template::render(&template.text, &places).map_err(|_| "params_invalid")?;
        Ok(Sms {
            message_id: job.message_id,
            owner: job.owner(),
            phone: task.contents.phone.clone(),
            text,
            template,
            params,
            code,
        })
    }

    fn template(&self, job: &Job) -> Option<Template> {
        let templates = &self.settings.templates;
        if !job.raw_template {
            return templates.get(&job.template).cloned();
        }
        // Its text is the provider's; the sign is that of our codes.
        let sign = templates.get(&self.settings.code.template)?.sign.clone();
        Some(Template { sign, aliyun: Some(job.template.clone()), ..Template::default() })
    }

    pub(super) fn code(&self, job: &Job) -> Option<Code> {
        code(job, &self.keys)
    }
}

/// A job's code; none of a notice. Test keys get the fixed one.
pub(super) fn code(job: &Job, keys: &KeyRing) -> Option<Code> {
    let verification = job.verification.as_ref()?;
    if job.test {
        return Some(Code::fixed(verification.digits));
    }
    Some(Code::derive(&keys.get(&job.key_id)?.code, verification.id, verification.digits))
}
