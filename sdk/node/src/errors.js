// How a scan ends other than by returning.

/** @implements {Error} */
export class ScanError extends Error {
  /** @param {string} reason @param {{retryable?: boolean}} [options] */
  constructor(reason, options = {}) {
    super(reason)
    this.name = 'ScanError'
    this.retryable = options.retryable === true
  }
}

export class Refuse extends Error {
  /** @param {string} reason */
  constructor(reason) {
    super(reason)
    this.name = 'Refuse'
  }
}

export class Cancelled extends Error {
  constructor() {
    super('the scan was cancelled')
    this.name = 'Cancelled'
  }
}

export class Mistake extends Error {
  /** @param {string} text */
  constructor(text) {
    super(text)
    this.name = 'Mistake'
  }
}

/** Refuses a call with a gRPC status. */
export class Status extends Error {
  /** @param {number} code @param {string} text */
  constructor(code, text) {
    super(text)
    this.code = code
  }
}
