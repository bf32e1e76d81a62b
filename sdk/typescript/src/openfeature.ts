/**
 * A provider for OpenFeature (`npm install @openfeature/server-sdk`): experiments as flags.
 *
 *     await OpenFeature.setProviderAndWait(new TidegateProvider(client))
 *     await OpenFeature.getClient().getStringValue('checkout', 'control', { targetingKey: 'u1' })
 *
 * A text flag is the variation; a boolean one is whether it is another than the control, which is the first one. The targeting key is the id that the experiment assigns by; `user_id`,
 * `anonymous_id` and `session_id` in the context say it by name. The exposure is sent as with `client.variation`.
 */

import type { ErrorCode, EvaluationContext, JsonValue, Provider, ResolutionDetails, TrackingEventDetails } from '@openfeature/server-sdk'

import type { Client } from './client.js'
import type { CallOptions, JsonObject } from './event.js'

type Who = Pick<CallOptions, 'userId' | 'anonymousId' | 'sessionId'>

/** Experiments of a client as flags. Closing the client is the application's. */
export class TidegateProvider implements Provider {
  readonly metadata = { name: 'tidegate' } as const
  readonly runsOn = 'server' as const
  readonly #client: Client

  constructor(client: Client) {
    this.#client = client
  }

  async resolveStringEvaluation(flagKey: string, defaultValue: string, context: EvaluationContext): Promise<ResolutionDetails<string>> {
    return this.#resolve(flagKey, defaultValue, context, (variation) => variation)
  }

  async resolveBooleanEvaluation(flagKey: string, defaultValue: boolean, context: EvaluationContext): Promise<ResolutionDetails<boolean>> {
    return this.#resolve(flagKey, defaultValue, context, (variation, control) => variation !== control)
  }

  async resolveNumberEvaluation(flagKey: string, defaultValue: number): Promise<ResolutionDetails<number>> {
    return this.#mismatch(flagKey, defaultValue)
  }

  async resolveObjectEvaluation<T extends JsonValue>(flagKey: string, defaultValue: T): Promise<ResolutionDetails<T>> {
    return this.#mismatch(flagKey, defaultValue)
  }

  /** A conversion of this name. */
  track(name: string, context: EvaluationContext, details: TrackingEventDetails): void {
    const who = whoOf(context)
    if (context.targetingKey && !who.userId && !who.anonymousId) who.userId = context.targetingKey
    this.#client.conversion(name, { ...details } as JsonObject, who)
  }

  #resolve<T>(flagKey: string, defaultValue: T, context: EvaluationContext, valueOf: (variation: string, control: string) => T): ResolutionDetails<T> {
    const experiment = this.#client.experiments.get(flagKey)
    if (!experiment) return wrong(defaultValue, 'FLAG_NOT_FOUND', `there is no experiment ${flagKey}`)
    const [subject, field] = experiment.subject === 'anonymous_id' ? (['anonymousId', 'anonymous_id'] as const) : (['userId', 'user_id'] as const)
    const who = whoOf(context)
    who[subject] ??= context.targetingKey
    if (!who[subject]) return wrong(defaultValue, 'TARGETING_KEY_MISSING', `experiment ${flagKey} assigns by ${field}: give it as the targeting key or in the context`)
    const variation = this.#client.variation(flagKey, who)
    return variation === undefined ? { value: defaultValue, reason: 'DEFAULT' } : { value: valueOf(variation, experiment.variations[0] as string), variant: variation, reason: 'SPLIT' }
  }

  #mismatch<T>(flagKey: string, defaultValue: T): ResolutionDetails<T> {
    if (!this.#client.experiments.has(flagKey)) return wrong(defaultValue, 'FLAG_NOT_FOUND', `there is no experiment ${flagKey}`)
    return wrong(defaultValue, 'TYPE_MISMATCH', `experiment ${flagKey} gives a variation: ask for a text or a boolean`)
  }
}

function wrong<T>(value: T, code: string, errorMessage: string): ResolutionDetails<T> {
  return { value, reason: 'ERROR', errorCode: code as ErrorCode, errorMessage }
}

function whoOf(context: EvaluationContext): Who {
  const id = (name: string): string | undefined => {
    const value = context[name]
    return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
  }
  return { userId: id('user_id'), anonymousId: id('anonymous_id'), sessionId: id('session_id') }
}
